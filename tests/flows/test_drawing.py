"""A target's charts: one of the weights, one of each metric, whole or not there at all, and drawn once."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.drawing import Drawing, draw
from tasks.evaluation.score_store import write_scores
from tasks.evaluation.scores import Direction, Score, TargetScores
from tasks.registry import pictures


def drawing(folder: Path, evaluation: Path | None) -> Drawing:
    return Drawing(
        "target", {"near": 0.7, "far": -0.2, "unused": 0.0}, 0.9, evaluation, 0.95, folder / "pictures" / "key"
    )


def save_scores(directory: Path) -> Path:
    metrics = {"accuracy": Direction.HIGHER, "loss": Direction.LOWER}
    by = {name: Score(0.5, 0.4, 0.6, 20, direction, "") for name, direction in metrics.items()}
    values = {name: np.full(20, 0.5) for name in metrics}
    methods = ("base", "chosen", "random")
    scores = TargetScores("target", "accuracy", dict.fromkeys(methods, by), dict.fromkeys(methods, values), ())
    write_scores(directory, scores)
    return directory


def names(one: Drawing) -> set[str]:
    return {path.name for path in one.directory.iterdir()}


def test_a_target_without_labels_has_the_chart_of_its_weights(tmp_path: Path):
    one = drawing(tmp_path, None)
    draw(one)
    assert names(one) == {"weights.png"}
    with Image.open(one.directory / "weights.png") as picture:
        assert picture.format == "PNG"
        assert len(set(picture.convert("RGB").get_flattened_data())) > 10  # something is drawn


def test_a_labelled_target_has_a_chart_of_every_metric_too(tmp_path: Path):
    one = drawing(tmp_path, save_scores(tmp_path / "evaluation"))
    draw(one)
    assert names(one) == {"weights.png", "methods_accuracy.png", "methods_loss.png"}


def test_charts_that_are_there_are_left_alone(tmp_path: Path):
    one = drawing(tmp_path, None)
    one.directory.mkdir(parents=True)
    draw(one)
    assert names(one) == set()


def test_charts_that_cannot_all_be_drawn_are_not_there_at_all(tmp_path: Path):
    one = drawing(tmp_path, tmp_path / "evaluation that nobody made")
    with pytest.raises(FileNotFoundError, match="target has no scores in"):
        draw(one)
    assert not (tmp_path / "pictures").exists()


def test_nothing_is_written_while_charts_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A worker that is killed in the middle leaves no half-written directory: drawing is what takes its time."""
    there: list[bool] = []
    paint = pictures.png_of
    monkeypatch.setattr(
        pictures, "png_of", lambda chart: there.append((tmp_path / "pictures").exists()) or paint(chart)
    )
    draw(drawing(tmp_path, save_scores(tmp_path / "evaluation")))
    assert there == [False] * 3
