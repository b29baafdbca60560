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
    from tasks.registry.pictures import save_chart, weights_chart

    if drawing.directory.exists():
        return
    with atomic_directory(drawing.directory) as folder:
        chart = weights_chart(drawing.target, drawing.weights, coverage=drawing.coverage)
        save_chart(chart, folder / "weights.png")
        if drawing.evaluation is not None:
            _draw_methods(drawing, drawing.evaluation, folder)


def _draw_methods(drawing: Drawing, evaluation: Path, folder: Path) -> None:
    from tasks.registry.pictures import Bar, methods_chart, save_chart

    found = read_scores(evaluation)
    if found is None:
        raise FileNotFoundError(f"{drawing.target} has no scores in {evaluation}")
    for metric, first in found.scores["chosen"].items():
        scores = {method: by[metric] for method, by in found.scores.items()}
        bars = [Bar(name, scores[name].value, scores[name].low, scores[name].high) for name in in_order(scores)]
        chart = methods_chart(
            drawing.target, bars, metric=metric, direction=first.direction, n=first.n, level=drawing.level
        )
        save_chart(chart, folder / f"methods_{metric}.png")
