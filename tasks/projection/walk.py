"""Follow the solutions of many l1 problems as their penalty falls, one event of each at a time.

The solution of an l1 problem is piecewise linear in its penalty (homotopy, LARS: Efron, Hastie, Johnstone, Tibshirani,
"Least angle regression", 2004). On the current support with its signs, weights inside and correlations outside are both
intercept + level * slope; the next event is the largest level at which an atom outside reaches its threshold or a
weight inside reaches zero. All that decides it are two right-hand sides of an active set, so that an event costs one
rank-one update. Where the weights sum to one, the constraint's multiplier is eliminated from the two at every step.

There are two phases, and a problem goes through one or both:

* WEIGHTED: weights are nonnegative and atom j is charged level * charge_j; right-hand side 1 holds the charges. With
  charges one it is the nonnegative lasso; with sum one and any charges it ends, at level 0, on the simplex projection.
* SIGNED: weights of both signs, charged level * |w|_1; right-hand side 1 holds the signs of the support, entered and
  removed with the atoms. With sum one it starts where the simplex projection is the solution, at any high level.

An atom that must enter but depends linearly on the support (duplicates, more atoms than dimensions) is exchanged for
the first weight that reaches zero when weight moves to it at an unchanged fit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from tasks.projection.active import ActiveSet, Array, Pivot, chosen, namespace, positions

CERTAIN = 1e-13  # violations below this are rounding; problems have unit scale
DEPENDENT = 1e-11  # a Schur complement below this share of its diagonal carries no digit of its own


class Phases(Enum):
    """Which phases a problem goes through."""

    WEIGHTED = "weighted"
    SIGNED = "signed"
    WEIGHTED_THEN_SIGNED = "weighted, then signed"


@dataclass(slots=True)
class Step:
    """The live problems just before an event: lines (k, t) for weights and correlations, and where the event is.

    problems (t,): positions in the batch that was started; support (k, t) bool; signs (k, t); levels (t,): the event's
    level, or the end of the path where `ended`; signed (t,): whether the problem is in its SIGNED phase; settled (t,):
    false halfway through an exchange, when the weights are no solution.
    """

    problems: Array
    support: Array
    signs: Array
    intercept: Array
    slope: Array
    levels: Array
    ended: Array
    signed: Array
    settled: Array
    active: ActiveSet

    def weights(self) -> Array:
        """Weights at the event, (k, t), exactly zero outside the support."""
        xp = namespace(self.intercept)
        return xp.where(self.support, self.intercept + self.levels * self.slope, 0.0)


def walk(
    active: ActiveSet,
    signs: Array,
    diagonal: Array,
    allowed: Array,
    ends: Array,
    *,
    phases: Phases,
    sum_one: bool,
    limit: int,
) -> Iterator[Step]:
    """Yield the problems before each event until the level of each has fallen to its end (t,).

    signs (k, t): the support at an infinite level, already swept in; diagonal (k, t): the unswept matrix's, to judge
    dependence; allowed (k, t): atoms that may enter. A problem that has not ended after `limit` events is left
    unfinished: whoever consumes the walk certifies what it got.
    """
    state = _start(active, signs, diagonal, allowed, ends, phases)
    for _ in range(limit):
        intercept, slope = _lines(active, state.signs, sum_one=sum_one)
        event = _next_event(state, intercept, slope)
        turning = ~event.found & ~state.signed if phases is Phases.WEIGHTED_THEN_SIGNED else None
        ended = ~event.found if turning is None else ~event.found & ~turning
        inside, settled = state.signs != 0.0, state.forced < 0
        yield Step(
            state.problems, inside, state.signs, intercept, slope, event.levels, ended, state.signed, settled, active
        )
        left = ~ended
        alive = int(left.sum())
        if alive == 0:
            return
        if turning is not None and bool(turning.any()):
            _turn(active, state, turning)
        if alive < 0.7 * active.count:
            rows = chosen(left)
            active.keep(rows)
            state, event = state.keep(rows), event.keep(rows)
            intercept, slope = intercept[:, rows], slope[:, rows]
        _pivot(active, state, event, intercept, slope)


@dataclass(slots=True)
class _State:
    problems: Array
    signs: Array
    diagonal: Array
    allowed: Array
    levels: Array
    ends: Array
    final_ends: Array  # where the SIGNED phase ends; the WEIGHTED one before it ends at zero
    signed: Array
    forced: Array  # atom that must enter next because an exchange is half done, -1 for none
    forced_side: Array

    def keep(self, rows: Array) -> "_State":
        values = (getattr(self, name) for name in self.__slots__)
        return _State(*(value[..., rows] for value in values))


@dataclass(slots=True)
class _Event:
    found: Array  # (t,) whether anything happens before the end
    pivots: Array  # (t,) atom that enters or leaves
    sides: Array  # (t,) sign with which it enters
    levels: Array  # (t,) where

    def keep(self, rows: Array) -> "_Event":
        return _Event(self.found[rows], self.pivots[rows], self.sides[rows], self.levels[rows])


def _start(active: ActiveSet, signs: Array, diagonal: Array, allowed: Array, ends: Array, phases: Phases) -> _State:
    xp = namespace(ends)
    zeros = xp.zeros_like(ends)
    count = positions(active.count, ends)
    signed = zeros > 0.0 if phases is not Phases.SIGNED else zeros == 0.0
    first_ends = zeros if phases is Phases.WEIGHTED_THEN_SIGNED else ends
    return _State(count, signs, diagonal, allowed, zeros + np.inf, first_ends, ends, signed, count * 0 - 1, zeros)


def _lines(active: ActiveSet, signs: Array, *, sum_one: bool) -> tuple[Array, Array]:
    """Weights (inside) and correlations (outside) as intercept + level * slope."""
    xp = namespace(signs)
    first, second = active.rows[0], active.rows[1]
    if not sum_one:
        return first, -second
    inside = xp.abs(signs)
    total = xp.einsum("kt,kt->t", first, inside)
    charged = xp.einsum("kt,kt->t", second, inside)
    return first / total, first * (charged / total) - second


def _next_event(state: _State, intercept: Array, slope: Array) -> _Event:
    """The largest level between now and the end at which an atom enters or leaves.

    Lines are straight and nothing is violated now, so exactly what is violated at the end has an event on the way.
    """
    xp = namespace(intercept)
    columns = positions(len(state.ends), state.ends)
    two_sided = xp.where(state.signed, 1.0, 0.0)
    at_end = intercept + state.ends * slope
    outside = xp.maximum(at_end, at_end * -two_sided) > CERTAIN + state.ends * two_sided
    violated = (outside & (state.signs == 0.0)) | (at_end * state.signs < -CERTAIN)
    violated &= state.allowed
    atoms, problems = violated.nonzero() if xp is np else violated.nonzero(as_tuple=True)
    # Inside, the line meets zero; outside, side * level in the SIGNED phase and zero in the WEIGHTED one.
    side = xp.sign(at_end[atoms, problems]) * two_sided[problems]
    fall = xp.where(state.signs[atoms, problems] == 0.0, side, 0.0) - slope[atoms, problems]
    latest, end = state.levels[problems], state.ends[problems]
    meets = intercept[atoms, problems] / xp.where(fall == 0.0, 1.0, fall)
    level = xp.zeros_like(intercept) - 1.0
    level[atoms, problems] = xp.where(fall == 0.0, latest, xp.minimum(xp.maximum(meets, end), latest))
    pivots = level.argmax(axis=0)
    best = level[pivots, columns]
    due = state.forced >= 0
    found = (best >= 0.0) | due
    levels = xp.where(due, state.levels, xp.where(found, best, state.ends))
    sides = xp.where(state.signed, xp.sign(at_end[pivots, columns]), 1.0)
    return _Event(found, xp.where(due, state.forced, pivots), xp.where(due, state.forced_side, sides), levels)


def _turn(active: ActiveSet, state: _State, turning: Array) -> None:
    """Begin the SIGNED phase: the support is positive, so right-hand side 1 equals side 0 inside, less one outside."""
    xp = namespace(turning)
    first, second = active.rows[0], active.rows[1]
    outside = xp.where(state.signs == 0.0, 1.0, 0.0)
    second[:] = xp.where(turning, first - outside, second)
    state.signed = state.signed | turning
    state.ends = xp.where(turning, state.final_ends, state.ends)
    state.levels = xp.where(turning, np.inf, state.levels)


def _pivot(active: ActiveSet, state: _State, event: _Event, intercept: Array, slope: Array) -> None:
    """Let each live problem's atom enter or leave; one that depends on the support first pushes another out."""
    xp = namespace(intercept)
    columns = positions(active.count, intercept)
    live, sides = event.found, event.sides
    pivot = active.prepare(event.pivots, state.signs[event.pivots, columns] != 0.0)
    stuck = live & ~pivot.leaving & (pivot.size <= DEPENDENT * state.diagonal[event.pivots, columns])
    due = state.forced >= 0
    state.forced = xp.zeros_like(event.pivots) - 1
    if bool(stuck.any()):
        outgoing, possible = _first_to_vanish(pivot, state, event, intercept, slope)
        exchange = stuck & possible & ~due
        refused = stuck & ~exchange
        state.allowed[event.pivots, columns] &= ~refused
        state.forced = xp.where(exchange, event.pivots, state.forced)
        state.forced_side = sides
        live = live & ~refused
        pivot = active.prepare(xp.where(exchange, outgoing, event.pivots), pivot.leaving | exchange)
    old = state.signs[pivot.atoms, columns]
    active.rows[1][pivot.atoms, columns] += xp.where(live & ~pivot.leaving & state.signed, sides, 0.0)
    active.apply(pivot, live)
    active.rows[1][pivot.atoms, columns] -= xp.where(live & pivot.leaving & state.signed, old, 0.0)
    state.signs[pivot.atoms, columns] = xp.where(live, xp.where(pivot.leaving, 0.0, sides), old)
    state.levels = xp.where(live, event.levels, state.levels)


def _first_to_vanish(pivot: Pivot, state: _State, event: _Event, intercept: Array, slope: Array) -> tuple[Array, Array]:
    """Which weight reaches zero first as weight moves to the entering atom along a direction that keeps the fit."""
    xp = namespace(intercept)
    moved = pivot.line * event.sides * state.signs
    # Levels are infinite only before the first event, where weights do not depend on the level.
    level = xp.where(xp.isfinite(event.levels), event.levels, 0.0)
    weights = xp.maximum((intercept + level * slope) * state.signs, 0.0)
    falling = (state.signs != 0.0) & (moved > CERTAIN)
    ratio = xp.where(falling, weights / xp.where(falling, moved, 1.0), np.inf)
    return ratio.argmin(axis=0), falling.any(axis=0)
