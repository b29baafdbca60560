"""Weights that are known already, with what they explain: baselines by formula, and answers over a whole library."""

import numpy as np

from tasks.projection.projection import Projection, coverage


def given_projection(weights: np.ndarray, atoms: np.ndarray, target: np.ndarray, *, centre: np.ndarray) -> Projection:
    """Residual and coverage of weights (k,) on atoms (k, d) for a target (d,); `centre` (d,) is the library's.

    A formula minimises nothing: penalty and duality gap are zero.
    """
    return measured_projection(
        weights, atoms, target, centre=centre, penalty=0.0, relative_penalty=0.0, duality_gap=0.0
    )


def measured_projection(
    weights: np.ndarray,
    atoms: np.ndarray,
    target: np.ndarray,
    *,
    centre: np.ndarray,
    penalty: float,
    relative_penalty: float,
    duality_gap: float,
) -> Projection:
    """The same for weights with a certificate; penalty and gap as in Projection."""
    goal = target.astype(np.float64)
    residual = float(np.linalg.norm(goal - weights @ atoms.astype(np.float64)))
    covered = coverage(residual, float(np.linalg.norm(goal - centre)))
    return Projection(weights, penalty, relative_penalty, residual, covered, duality_gap)
