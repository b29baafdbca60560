"""Prototypes that are the same task twice: how they are found, and how they share their weight.

Two prototypes count as one where their cosine about the library's centre exceeds 1 - 1e-6 at the library's typical
length, that is, where their squared distance is at most 2e-6 of the spread: far below the sampling error of any
prototype. Such a group (connected: a chain of copies is one group) enters the problem as its mean, and its members
share the weight equally. Only the group's sum is determined by the data, and equal shares are the one choice that does
not depend on the library's order. The certificate then holds for the problem with the group means; with exact copies
that is the original problem. Over a whole library (pricing.py) the groups are those among the references that a
target's problem holds; a copy outside of a reference that carries weight is taken in, to carry its share.
"""

from dataclasses import dataclass

import numpy as np

from tasks.projection.moments import Moments

COSINE = 1.0 - 1e-6
CHUNK = 64  # problems compared at a time, so that the sums stay in the cache


@dataclass(frozen=True, slots=True)
class Merged:
    """Moments in which every member of a group is the group's mean, who may carry weight, and how weight is shared.

    rows (m,): the problems that have groups; sharing (m, k, k): averaging matrices; allowed (t, k): the first of each
    group, or None where there is no group at all.
    """

    moments: Moments
    rows: np.ndarray
    sharing: np.ndarray
    allowed: np.ndarray | None

    def merge(self, moments: Moments) -> Moments:
        """The same groups' means in other moments (about another origin) of the same atoms."""
        return _averaged(moments, self.rows, self.sharing) if self.rows.size else moments

    def share(self, weights: np.ndarray) -> np.ndarray:
        """Weights (t, k) with each group's sum spread equally over its members."""
        if self.rows.size == 0:
            return weights
        out = weights.copy()
        out[self.rows] = np.matmul(self.sharing, weights[self.rows][:, :, None])[:, :, 0]
        return out


def copy_distance(spread: float) -> float:
    """Squared distance up to which two prototypes of a library with this spread count as one."""
    return 2.0 * (1.0 - COSINE) * spread


def merge_duplicates(moments: Moments, *, spread: float) -> Merged:
    """Find the groups among each problem's atoms (moments about any origin) and put their means in their places."""
    near = _near(moments, limit=copy_distance(spread))
    if np.count_nonzero(near) == moments.count * moments.size:  # every atom is near itself
        return Merged(moments, np.empty(0, dtype=np.int64), np.empty((0, moments.size, moments.size)), None)
    rows = np.flatnonzero(near.sum(axis=(1, 2)) > moments.size)
    same = _connected(near[rows])
    sharing = same / same.sum(axis=2, keepdims=True)
    allowed = np.ones(moments.correlations.shape, dtype=bool)
    allowed[rows] = same.argmax(axis=2) == np.arange(moments.size)
    return Merged(_averaged(moments, rows, sharing), rows, sharing, allowed)


def _near(moments: Moments, *, limit: float) -> np.ndarray:
    """Which atoms (t, k, k) are within the squared distance `limit`: G_ij >= (G_ii + G_jj - limit) / 2."""
    halves = np.einsum("tkk->tk", moments.gram) / 2.0 - limit / 4.0
    near = np.empty(moments.gram.shape, dtype=bool)
    for first in range(0, moments.count, CHUNK):
        rows = slice(first, first + CHUNK)
        np.greater_equal(moments.gram[rows], halves[rows, :, None] + halves[rows, None, :], out=near[rows])
    own = np.arange(moments.size)
    near[:, own, own] = True
    return near


def _averaged(moments: Moments, rows: np.ndarray, sharing: np.ndarray) -> Moments:
    gram, correlations = moments.gram.copy(), moments.correlations.copy()
    gram[rows] = sharing @ gram[rows] @ sharing.transpose(0, 2, 1)
    correlations[rows] = np.matmul(sharing, correlations[rows][:, :, None])[:, :, 0]
    return Moments(gram, correlations, moments.energy)


def _connected(near: np.ndarray) -> np.ndarray:
    """Transitive closure of symmetric, reflexive relations (m, k, k), by squaring until nothing is added."""
    while True:
        wider = np.matmul(near.astype(np.float32), near.astype(np.float32)) > 0.0
        if (wider == near).all():
            return near
        near = wider
