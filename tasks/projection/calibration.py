"""The library's own scale: where it lies, how far it spreads, and how much its samples vary within a task."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Calibration:
    """centre: (d,) mean prototype; within_std: (d,) root mean square of the references' within-task deviations;
    spread: mean squared distance of the prototypes from the centre. All float64.
    """

    centre: np.ndarray
    within_std: np.ndarray
    spread: float


def calibrate(prototypes: np.ndarray, within_std: np.ndarray) -> Calibration:
    """Calibration of prototypes (n, d) with within-task deviations (n, d)."""
    wide = prototypes.astype(np.float64)
    centre = wide.mean(axis=0)
    spread = float(np.square(wide - centre).sum(axis=1).mean())
    return Calibration(centre, np.sqrt(np.square(within_std.astype(np.float64)).mean(axis=0)), spread)


def drifted(old: Calibration, new: Calibration, *, factor: float) -> bool:
    """Whether the spread moved by more than `factor` (> 1) either way, so that old penalties mean something else."""
    return not old.spread / factor <= new.spread <= old.spread * factor
