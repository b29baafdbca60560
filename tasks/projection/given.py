"""Weights that a formula gives and no problem was solved for, with what they explain: baselines as projections."""

import numpy as np

from tasks.projection.projection import Projection, coverage


def given_projection(weights: np.ndarray, atoms: np.ndarray, target: np.ndarray, *, centre: np.ndarray) -> Projection:
    """Residual and coverage of weights (k,) on atoms (k, d) for a target (d,); `centre` (d,) is the library's.

    A formula minimises nothing: penalty and duality gap are zero.
    """
    goal = target.astype(np.float64)
    residual = float(np.linalg.norm(goal - weights @ atoms.astype(np.float64)))
    covered = coverage(residual, float(np.linalg.norm(goal - centre)))
    return Projection(weights, 0.0, 0.0, residual, covered, 0.0)
