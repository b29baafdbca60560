"""The charts of a target, drawn by the worker that built it: drawing takes longer than all else that registers it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.methods import in_order
from tasks.evaluation.score_store import read_scores
from tasks.files import atomic_directory


@dataclass(frozen=True, slots=True)
class Drawing:
    """What the charts show: weights of a composition by reference, and the scores in `evaluation` where there are any.

    `level`: of the scores' intervals; `directory`: where the charts go, named by what they show.
    """

    target: str
    weights: Mapping[str, float]
    coverage: float
    evaluation: Path | None
    level: float
    directory: Path


def draw(drawing: Drawing) -> None:
    """Draw the charts; those that are there already are left alone."""
    if drawing.directory.exists():
        return
    # Drawn before anything is written: drawing takes long, and a night that is stopped meanwhile shall leave nothing.
    charts = _charts(drawing)
    with atomic_directory(drawing.directory) as folder:
        for name, picture in charts.items():
            (folder / name).write_bytes(picture)


def _charts(drawing: Drawing) -> dict[str, bytes]:
    """PNG files by name."""
    from tasks.registry.pictures import Bar, methods_chart, png_of, weights_chart

    charts = {"weights.png": png_of(weights_chart(drawing.target, drawing.weights, coverage=drawing.coverage))}
    if drawing.evaluation is None:
        return charts
    found = read_scores(drawing.evaluation)
    if found is None:
        raise FileNotFoundError(f"{drawing.target} has no scores in {drawing.evaluation}")
    for metric, first in found.scores["chosen"].items():
        scores = {method: by[metric] for method, by in found.scores.items()}
        bars = [Bar(name, scores[name].value, scores[name].low, scores[name].high) for name in in_order(scores)]
        chart = methods_chart(
            drawing.target, bars, metric=metric, direction=first.direction, n=first.n, level=drawing.level
        )
        charts[f"methods_{metric}.png"] = png_of(chart)
    return charts
