"""All solutions of a target as its penalty falls: a path with a knot at every change of support."""

from dataclasses import dataclass

import numpy as np

from tasks.projection.compiled import compiled
from tasks.projection.lockstep import Units, lockstep_weights, start_walk, units_of
from tasks.projection.moments import Moments
from tasks.projection.variants import Variant


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
        out = np.empty((*penalties.shape, self.weights.shape[1]))
        _interpolate(self.penalties, self.weights, self.starts, penalties, out)
        return out


@compiled
def _interpolate(
    knots: np.ndarray, weights: np.ndarray, starts: np.ndarray, penalties: np.ndarray, out: np.ndarray
) -> None:
    for target in range(len(out)):
        first, last = starts[target], starts[target + 1] - 1
        for n in range(penalties.shape[1]):
            penalty, right = penalties[target, n], first
            while right < last and knots[right] > penalty:
                right += 1
            left = max(right - 1, first)
            width = knots[left] - knots[right]
            share = min(max((knots[left] - penalty) / width, 0.0), 1.0) if width > 0.0 else 1.0
            for atom in range(out.shape[2]):
                out[target, n, atom] = weights[left, atom] + share * (weights[right, atom] - weights[left, atom])


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
            simplex = lockstep_weights(moments, penalty=nothing, variant=Variant.SIMPLEX, allowed=None)
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
    knots: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # problems (m,), levels (m,) and weights (k, m)
    over = np.zeros(moments.count, dtype=bool)
    count = np.zeros(moments.count, dtype=np.int64)
    for step in start_walk(moments, ends=units.levels(ends), variant=variant, units=units, allowed=allowed):
        # The affine walk's way to the simplex projection is no part of the path, nor is a half-done exchange.
        counts = step.signed == variant.signed
        rows = np.flatnonzero(counts & step.settled & np.isfinite(step.levels) & ~over[step.problems])
        over[step.problems[step.ended]] = True
        count[step.problems[rows]] += 1
        knots.append((step.problems[rows], step.levels[rows], step.weights(rows)))
    return _in_order(knots, count, units)


def _in_order(knots: list[tuple[np.ndarray, np.ndarray, np.ndarray]], count: np.ndarray, units: Units) -> Paths:
    """Knots of all problems as they came, `count` (t,) of each, put problem after problem, in the units of Eq. 5."""
    starts = np.concatenate([[0], np.cumsum(count)])
    penalties, weights = np.empty(starts[-1]), np.empty((starts[-1], knots[0][2].shape[0]))
    place = starts[:-1].copy()
    for problems, levels, some in knots:
        rows, theirs = place[problems], units[problems]
        penalties[rows] = theirs.penalties(levels)
        weights[rows] = (some * theirs.load).T
        place[problems] += 1
    return Paths(penalties, weights, starts)
