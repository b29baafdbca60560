"""What a measurement is: a metric with its direction and unit, and a value with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np


class Direction(StrEnum):
    """Which way is better."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name, its better direction and its unit."""

    name: str
    direction: Direction
    unit: str


@dataclass(frozen=True, slots=True)
class Score:
    """Mean of a metric over `n` samples with its bootstrap interval [low, high]."""

    value: float
    low: float
    high: float
    n: int
    direction: Direction
    unit: str


Shape = np.ndarray | str  # an image (h, w, c) or (h, w), a mask (h, w), or a text


@dataclass(frozen=True, slots=True)
class Shown:
    """One sample for the picture: what the model saw, what is true, and each method's answer."""

    sample: Shape
    truth: Shape
    answers: Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class Examination:
    """One adapted model on one evaluation set: values (n,) by metric name, and its answers to the shown samples."""

    values: Mapping[str, np.ndarray]
    answers: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class TargetScores:
    """All methods on one target.

    `scores[method][metric]`; `values[method][metric]` are the values of single samples, (n,), in file order, for paired
    comparison; `primary` names the metric that decides promotion.
    """

    target: str
    primary: str
    scores: Mapping[str, Mapping[str, Score]]
    values: Mapping[str, Mapping[str, np.ndarray]]
    shown: tuple[Shown, ...] = field(default=())
