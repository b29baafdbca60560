"""What there is to evaluate, as values. Imports no model library: a flow makes these, a worker does them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.evaluation.examiners.setting import Setting


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Resamples over samples, the interval's level, and the seed of both resamples and controls."""

    resamples: int
    level: float
    seed: int


@dataclass(frozen=True, slots=True)
class EvaluationJob:
    """Everything one target's evaluation depends on; picklable.

    `adapters` are the neighbourhood's directories and `weights[method]` the weights on them, in the same order;
    `whole[method]` are directories scored as they are (the ceiling, a champion): weight one through the same blend.
    The two controls are drawn `draws` times with the norms of method `controlled`, which must be in `weights`; with
    None there are no controls.
    """

    target: str
    setting: Setting
    adapters: tuple[Path, ...]
    weights: Mapping[str, tuple[float, ...]]
    whole: Mapping[str, Path]
    controlled: str | None
    draws: int
    bootstrap: Bootstrap
