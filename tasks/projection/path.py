"""All solutions of a target as its penalty falls: a path with a knot at every change of support."""

from dataclasses import dataclass

import numpy as np

from tasks.projection.lockstep import lockstep_weights, start_walk, units_of
from tasks.projection.moments import Moments
from tasks.projection.variants import Variant

CHUNK = 32  # targets interpolated at a time, so that their weights stay in the cache


@dataclass(frozen=True, slots=True)
class Paths:
    """Knots of t targets' solution paths, one target after the other; between knots weights are linear in the penalty.

    penalties (m,): those of Eq. 5, falling within each target; weights (m, k); starts (t + 1,): target i has the knots
    starts[i] .. starts[i + 1] - 1. Above its first knot a target's weights stay what they are there: zero without a
    sum constraint, the simplex projection with one, where the penalty is inert.
    """

    penalties: np.ndarray
    weights: np.ndarray
    starts: np.ndarray

    def __getitem__(self, target: int) -> tuple[np.ndarray, np.ndarray]:
        """One target's knots: penalties (m_i,) and weights (m_i, k)."""
        rows = slice(self.starts[target], self.starts[target + 1])
        return self.penalties[rows], self.weights[rows]

    def at(self, penalties: np.ndarray) -> np.ndarray:
        """Weights (t, n, k) at penalties (t, n), none below its target's last knot."""
        t = len(self.starts) - 1
        highest = self.penalties[self.starts[:-1]]
        unit = np.where(highest > 0.0, highest, 1.0)
        owners = np.repeat(np.arange(t), np.diff(self.starts))
        # One sorted key for all: a target's number, plus how far its penalty has fallen, from 0 to 1.
        keys = owners * 2.0 + (1.0 - self.penalties / unit[owners])
        fallen = 1.0 - np.minimum(penalties / unit[:, None], 1.0)
        right = np.searchsorted(keys, np.arange(t)[:, None] * 2.0 + fallen)
        right = np.clip(right, self.starts[:-1, None], self.starts[1:, None] - 1)
        left = np.maximum(right - 1, self.starts[:-1, None])
        width = keys[right] - keys[left]
        share = (fallen - (keys[left] - np.arange(t)[:, None] * 2.0)) / np.where(width > 0.0, width, 1.0)
        share = np.clip(np.where(width > 0.0, share, 1.0), 0.0, 1.0)[:, :, None]
        out = np.empty((*penalties.shape, self.weights.shape[1]))
        for first in range(0, t, CHUNK):
            rows = slice(first, first + CHUNK)
            below = self.weights[left[rows]]
            step = self.weights[right[rows]] - below
            step *= share[rows]
            np.add(below, step, out=out[rows])
        return out


def largest_penalties(moments: Moments, *, variant: Variant) -> np.ndarray:
    """The penalty (t,) above which nothing changes any more: lambda_max, or lambda_bar under AFFINE.

    lambda_max = 2 max(correlation) is where the first weight appears. At lambda_bar = max g - min g, g the atoms'
    correlations with the simplex projection's residual, the first negative weight appears; above it Eq. 5 is the
    simplex projection. On the simplex itself the penalty never matters: 0.
    """
    match variant:
        case Variant.SIMPLEX:
            return np.zeros(moments.count)
        case Variant.AFFINE:
            nothing = np.zeros(moments.count)
            simplex = lockstep_weights(moments, penalty=nothing, variant=Variant.SIMPLEX, allowed=None, device=None)
            g = np.matmul(moments.gram, simplex[:, :, None])[:, :, 0]
            return g.max(axis=1) - g.min(axis=1)
        case Variant.NONNEGATIVE:
            return 2.0 * np.maximum(moments.correlations.max(axis=1), 0.0)
        case _:
            return 2.0 * np.abs(moments.correlations).max(axis=1)


def paths(moments: Moments, *, ends: np.ndarray, variant: Variant, allowed: np.ndarray | None) -> Paths:
    """Paths of t targets down to the penalties `ends` (t,); for REFIT the free path, on moments about the centre."""
    if variant is Variant.SIMPLEX:
        raise ValueError("on the simplex the penalty is a constant: there is no path to follow")
    units = units_of(moments, variant=variant)
    owners, levels, weights = [], [], []
    over = np.zeros(moments.count, dtype=bool)
    for step in start_walk(
        moments, ends=units.levels(ends), variant=variant, units=units, allowed=allowed, device=None
    ):
        # The affine walk's way to the simplex projection is no part of the path, nor is a half-done exchange.
        counts = step.signed == variant.signed
        rows = np.flatnonzero(counts & step.settled & np.isfinite(step.levels) & ~over[step.problems])
        over[step.problems[step.ended]] = True
        owners.append(step.problems[rows])
        levels.append(step.levels[rows])
        weights.append(step.weights(rows).T)
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    owner, level = owner[order], np.concatenate(levels)[order]
    scaled = np.concatenate(weights)[order] * units.load[owner][:, None]
    starts = np.searchsorted(owner, np.arange(moments.count + 1))
    return Paths(level * (2.0 * units.length * units.load)[owner], scaled, starts)
