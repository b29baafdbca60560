"""All a solver or a certificate may know of the prototypes: second moments, sized by the neighbourhood, not by d."""

from dataclasses import dataclass

import numpy as np

from tasks.projection.variants import Variant

# Squared relative rounding of float32: a direction among prototypes with less of the largest energy is their rounding.
GRAIN = 2.0**-46
BLOCK = 8  # targets whose atoms are widened to float64 together: 2 MB at k = 32, d = 1024, within the cache


@dataclass(frozen=True, slots=True)
class Moments:
    """Second moments of t problems with k atoms each: ||z - sum w_i z_i||^2 = energy - 2 correlations.w + w.gram.w.

    gram: (t, k, k); correlations: (t, k), atom . target; energy: (t,), target . target. All float64.
    """

    gram: np.ndarray
    correlations: np.ndarray
    energy: np.ndarray

    def __getitem__(self, rows: np.ndarray | slice) -> "Moments":
        """The problems that `rows` selects (a mask, positions or a slice over t)."""
        return Moments(self.gram[rows], self.correlations[rows], self.energy[rows])

    @property
    def count(self) -> int:
        """Number of problems t."""
        return len(self.energy)

    @property
    def size(self) -> int:
        """Number of atoms k."""
        return self.correlations.shape[1]


def moments_of(atoms: np.ndarray, targets: np.ndarray, *, variant: Variant) -> Moments:
    """Moments of atoms (t, k, d) and targets (t, d), in float64.

    With weights that sum to one the origin is free, and is put at the target: what all prototypes share (a common mean
    or a massive activation) then cancels before it is squared.
    """
    wide = atoms.astype(np.float64)
    goals = targets.astype(np.float64)
    if variant.sums_to_one:
        wide -= goals[:, None, :]
        zero = np.zeros(len(goals))
        return Moments(np.matmul(wide, wide.transpose(0, 2, 1)), np.zeros(wide.shape[:2]), zero)
    return _moments(wide, goals)


def moments_about(atoms: np.ndarray, targets: np.ndarray, *, origin: np.ndarray) -> Moments:
    """Moments of atoms (t, k, d) and targets (t, d) with `origin` (d,) subtracted from both, in float64."""
    return _moments(atoms.astype(np.float64) - origin, targets.astype(np.float64) - origin)


def _moments(wide: np.ndarray, goals: np.ndarray) -> Moments:
    return Moments(
        np.matmul(wide, wide.transpose(0, 2, 1)),
        np.matmul(wide, goals[:, :, None])[:, :, 0],
        np.einsum("td,td->t", goals, goals),
    )


def gather_moments(library: np.ndarray, indices: np.ndarray, targets: np.ndarray, *, variant: Variant) -> Moments:
    """Moments of `targets` (t, d) with their own rows `indices` (t, k) of `library` (n, d), a block at a time."""
    parts = [
        moments_of(library[indices[first : first + BLOCK]], targets[first : first + BLOCK], variant=variant)
        for first in range(0, len(targets), BLOCK)
    ]
    return _joined(parts)


def gather_moments_about(
    library: np.ndarray, indices: np.ndarray, targets: np.ndarray, *, origin: np.ndarray
) -> Moments:
    """The same with the origin at `origin` (d,)."""
    parts = [
        moments_about(library[indices[first : first + BLOCK]], targets[first : first + BLOCK], origin=origin)
        for first in range(0, len(targets), BLOCK)
    ]
    return _joined(parts)


def _joined(parts: list[Moments]) -> Moments:
    return Moments(*(np.concatenate([getattr(part, name) for part in parts]) for name in Moments.__slots__))


def scales_of(moments: Moments, *, variant: Variant) -> np.ndarray:
    """The unit in which a duality gap is relative, shape (t,), squared prototype distance.

    Mean squared distance from target to atoms where weights sum to one (the same wherever the origin lies), the
    target's squared length otherwise.
    """
    if variant.sums_to_one:
        return np.einsum("tkk->t", moments.gram) / moments.size
    return moments.energy
