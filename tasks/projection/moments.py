"""All a solver or a certificate may know of the prototypes: second moments, sized by the neighbourhood, not by d."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.projection.variants import Variant

# Squared relative rounding of float32: a direction among prototypes with less of the largest energy is their rounding.
GRAIN = 2.0**-46
BLOCK = 2  # targets whose atoms are widened to float64 together: half a megabyte at k = 32, d = 1024, within the cache


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
    moments = _room_for(*atoms.shape[:2])
    _fill(moments, atoms.astype(np.float64), targets.astype(np.float64), at_targets=variant.sums_to_one)
    return moments


def gather_moments(library: np.ndarray, indices: np.ndarray, targets: np.ndarray, *, variant: Variant) -> Moments:
    """Moments of `targets` (t, d) with their own rows `indices` (t, k) of `library` (n, d), a block at a time."""
    moments = _room_for(*indices.shape)
    for rows, wide, goals in _blocks(library, indices, targets):
        _fill(moments[rows], wide, goals, at_targets=variant.sums_to_one)
    return moments


def gather_moments_about(
    library: np.ndarray, indices: np.ndarray, targets: np.ndarray, *, origin: np.ndarray
) -> Moments:
    """The same with `origin` (d,) subtracted from library and targets."""
    moments = _room_for(*indices.shape)
    for rows, wide, goals in _blocks(library, indices, targets):
        wide -= origin
        goals -= origin
        _fill(moments[rows], wide, goals, at_targets=False)
    return moments


def _blocks(
    library: np.ndarray, indices: np.ndarray, targets: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Slices of the targets with their atoms (BLOCK, k, d), overwritten in turn, and themselves, in float64."""
    buffer = np.empty((BLOCK, indices.shape[1], library.shape[1]))
    for first in range(0, len(targets), BLOCK):
        rows = slice(first, first + BLOCK)
        goals = targets[rows].astype(np.float64)
        wide = buffer[: len(goals)]
        wide[:] = library[indices[rows]]
        yield rows, wide, goals


def _room_for(count: int, size: int) -> Moments:
    return Moments(np.empty((count, size, size)), np.zeros((count, size)), np.zeros(count))


def _fill(moments: Moments, wide: np.ndarray, goals: np.ndarray, *, at_targets: bool) -> None:
    """Fill in the moments of atoms (t, k, d), overwritten, and targets (t, d), as they are or about the targets."""
    if at_targets:
        wide -= goals[:, None, :]
    else:
        np.matmul(wide, goals[:, :, None], out=moments.correlations[:, :, None])
        np.einsum("td,td->t", goals, goals, out=moments.energy)
    np.matmul(wide, wide.transpose(0, 2, 1), out=moments.gram)


def scales_of(moments: Moments, *, variant: Variant) -> np.ndarray:
    """The unit in which a duality gap is relative, shape (t,), squared prototype distance.

    Mean squared distance from target to atoms where weights sum to one (the same wherever the origin lies), the
    target's squared length otherwise.
    """
    if variant.sums_to_one:
        return np.einsum("tkk->t", moments.gram) / moments.size
    return moments.energy
