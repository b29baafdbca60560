"""Scores and the picture of a target in a directory; `scores.json` comes last and says that the directory is whole."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tasks.evaluation.picture import samples_picture
from tasks.evaluation.scores import Direction, Score, TargetScores
from tasks.files import atomic_file, write_json

SCORES_NAME = "scores.json"
PICTURE_NAME = "samples.png"


def write_scores(directory: Path, scores: TargetScores) -> None:
    """Store the scores with every sample's value, and the picture of the shown samples."""
    if scores.shown:
        with atomic_file(directory / PICTURE_NAME) as temporary:
            samples_picture(scores.target, scores.shown).savefig(temporary, format="png", dpi=120)
    write_json(
        directory / SCORES_NAME,
        {
            "target": scores.target,
            "primary": scores.primary,
            "scores": {method: {name: asdict(s) for name, s in by.items()} for method, by in scores.scores.items()},
            "values": {method: {name: v.tolist() for name, v in by.items()} for method, by in scores.values.items()},
        },
    )


def _score(value: Mapping[str, Any]) -> Score:
    return Score(**{**value, "direction": Direction(value["direction"])})


def read_scores(directory: Path) -> TargetScores | None:
    """The scores stored in a directory, or None where they are not (yet) there."""
    path = directory / SCORES_NAME
    if not path.is_file():
        return None
    value = json.loads(path.read_text(encoding="utf-8"))
    return TargetScores(
        target=value["target"],
        primary=value["primary"],
        scores={method: {name: _score(s) for name, s in by.items()} for method, by in value["scores"].items()},
        values={method: {name: np.array(v) for name, v in by.items()} for method, by in value["values"].items()},
    )
