"""The result of a projection: weights and the evidence for them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Projection:
    """Weights of one target on its neighbourhood, in the neighbourhood's order.

    weights: (k,) float64; a zero is an exact zero.
    penalty: l1 strength of Eq. 5 (squared prototype distance); relative_penalty is the same in units of the spread.
    residual: length of target - sum_i w_i atom_i.
    coverage: 1 - residual / distance of the target to the library's centre; 1 is a perfect explanation.
    duality_gap: certified upper bound on what a better solution could gain, relative to the problem's own scale.
    """

    weights: np.ndarray
    penalty: float
    relative_penalty: float
    residual: float
    coverage: float
    duality_gap: float

    @property
    def support(self) -> np.ndarray:
        """Positions in the neighbourhood that carry weight, shape (nnz,)."""
        return np.flatnonzero(self.weights)


class NotCertified(ValueError):
    """No solver reached the asked duality gap for this target; the message names gap, limit and remedy."""


def coverage(residual: float, distance_to_centre: float) -> float:
    """Share of the target's distance to the library's centre that the combination explains (1: all, below 0: worse)."""
    if residual == 0.0:
        return 1.0
    return 1.0 - residual / distance_to_centre if distance_to_centre > 0.0 else 0.0
