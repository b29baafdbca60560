"""Scores of a target's methods, and their files: `scores.json` comes last and says that the directory is whole."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.files import write_json

SCORES_NAME = "scores.json"
PICTURE_NAME = "samples.png"


@dataclass(frozen=True, slots=True)
class Score:
    """A metric's mean over n samples with its bootstrap interval."""

    value: float
    low: float
    high: float
    n: int
    higher_is_better: bool
    unit: str


@dataclass(frozen=True, slots=True)
class TargetScores:
    """Every method's metrics on one target's labelled samples. The first metric is the one that decides.

    `samples` keeps each sample's value of that metric, shape (n,), in file order: methods are compared pairwise on it.
    `champion` is the incumbent model version, measured on the same samples, where there is one.
    """

    target: str
    metrics: tuple[str, ...]
    scores: Mapping[str, Mapping[str, Score]]
    samples: Mapping[str, np.ndarray]
    champion: Mapping[str, Score] | None

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return self.metrics[0]


def write_scores(directory: Path, scores: TargetScores) -> None:
    """Store scores in a directory."""
    value = {
        "target": scores.target,
        "metrics": list(scores.metrics),
        "scores": {method: {m: asdict(s) for m, s in by.items()} for method, by in scores.scores.items()},
        "samples": {method: values.tolist() for method, values in scores.samples.items()},
        "champion": None if scores.champion is None else {m: asdict(s) for m, s in scores.champion.items()},
    }
    write_json(directory / SCORES_NAME, value)


def _metrics(value: Mapping[str, Any]) -> dict[str, Score]:
    return {metric: Score(**score) for metric, score in value.items()}


def read_scores(directory: Path) -> TargetScores | None:
    """The scores stored in a directory, or None where they are not (yet) there."""
    path = directory / SCORES_NAME
    if not path.is_file():
        return None
    value = json.loads(path.read_text(encoding="utf-8"))
    return TargetScores(
        target=value["target"],
        metrics=tuple(value["metrics"]),
        scores={method: _metrics(by) for method, by in value["scores"].items()},
        samples={method: np.array(values) for method, values in value["samples"].items()},
        champion=None if value["champion"] is None else _metrics(value["champion"]),
    )
