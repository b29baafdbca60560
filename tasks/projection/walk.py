"""Follow the solutions of many l1 problems as their penalty falls, one event of each at a time.

The solution of an l1 problem is piecewise linear in its penalty (homotopy, LARS: Efron, Hastie, Johnstone, Tibshirani,
"Least angle regression", 2004). On the current support with its signs, weights inside and correlations outside are both
intercept + level * slope; the next event is the largest level at which an atom outside reaches its threshold or a
weight inside reaches zero. All that decides it are two right-hand sides of an active set, so that an event costs one
rank-one update. Where the weights sum to one, the constraint's multiplier is eliminated from the two at every step.

There are two phases, and a problem goes through one or both:

* WEIGHTED: weights are nonnegative and atom j is charged level * charge_j; right-hand side 1 holds minus the charges.
  With charges one it is the nonnegative lasso; with sum one it ends, at level 0, on the simplex projection.
* SIGNED: weights of both signs, charged level * |w|_1; right-hand side 1 holds minus the signs of the support, entered
  and removed with the atoms. With sum one it starts where the simplex projection is the solution, at any high level.

An atom that must enter but depends linearly on the support (duplicates, more atoms than dimensions) is exchanged for
the first weight that reaches zero when weight moves to it at an unchanged fit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from tasks.projection.active import ActiveSet, Pivot

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

    problems (t,): their names; support (k, t) bool; signs (k, t); levels (t,): the event's
    level, or the end of the path where `ended`; signed (t,): whether the problem is in its SIGNED phase; settled (t,):
    false halfway through an exchange, when the weights are no solution; digits (t,): the smallest share of its diagonal
    that an entering atom's Schur complement had, which tells how exact the weights are.
    """

    problems: np.ndarray
    support: np.ndarray
    signs: np.ndarray
    intercept: np.ndarray
    slope: np.ndarray
    levels: np.ndarray
    ended: np.ndarray
    signed: np.ndarray
    settled: np.ndarray
    digits: np.ndarray
    active: ActiveSet

    def weights(self, rows: np.ndarray) -> np.ndarray:
        """Weights at the event of the problems at these positions, (k, len(rows)), exactly zero outside the support."""
        lines = self.intercept[:, rows] + self.levels[rows] * self.slope[:, rows]
        return np.where(self.support[:, rows], lines, 0.0)


@dataclass(slots=True)
class Start:
    """Problems at an infinite level: signs (k, t) of the support, already entered in `active`; diagonal (k, t) of its
    matrix, to judge dependence by; allowed (k, t): atoms that may enter; ends (t,): levels to walk down to; problems
    (t,): names of the problems, which the steps repeat.
    """

    problems: np.ndarray
    active: ActiveSet
    signs: np.ndarray
    diagonal: np.ndarray
    allowed: np.ndarray
    ends: np.ndarray


def walk(starts: Iterator[Start], *, phases: Phases, sum_one: bool, limit: int) -> Iterator[Step]:
    """Yield the problems before each event until the level of each has fallen to its end.

    Problems of one start are walked together until a quarter is left; what is left of several starts is then joined and
    walked on, so that the lockstep is never nearly empty. A problem that has not ended after `limit` events is dropped
    unfinished: whoever consumes the walk certifies what it got.
    """
    left: list[_Walkers] = []
    full = 0
    for start in starts:
        walkers = _Walkers(start.active, _start(start, phases))
        full = max(full, start.active.count)
        yield from _advance(walkers, phases, until=full // 4, sum_one=sum_one, limit=limit)
        left.append(walkers)
        if sum(some.active.count for some in left) >= full:
            left = [_joined(left)]
            yield from _advance(left[0], phases, until=full // 4, sum_one=sum_one, limit=limit)
    if left:
        yield from _advance(_joined(left), phases, until=0, sum_one=sum_one, limit=limit)


@dataclass(slots=True)
class _Walkers:
    """Problems under way."""

    active: ActiveSet
    state: "_State"

    def keep(self, rows: np.ndarray) -> None:
        self.active.keep(rows)
        self.state = self.state.keep(rows)


def _joined(several: list[_Walkers]) -> _Walkers:
    first = several[0]
    for other in several[1:]:
        first.active.join(other.active)
        first.state = first.state.joined(other.state)
    return first


def _advance(walkers: _Walkers, phases: Phases, *, until: int, sum_one: bool, limit: int) -> Iterator[Step]:
    """Walk on, event by event, until at most `until` problems are left."""
    while walkers.active.count > until:
        active, state = walkers.active, walkers.state
        intercept, slope = _lines(active, state.signs, sum_one=sum_one)
        event = _next_event(state, intercept, slope)
        turning = ~event.found & ~state.signed & (phases is Phases.WEIGHTED_THEN_SIGNED)
        ended = ~event.found & ~turning
        yield _step(walkers, intercept, slope, event.levels, ended)
        state.events = state.events + 1
        under_way = ~ended & (state.events < limit)
        if bool(turning.any()):
            _turn(active, state, turning)
        alive = int(under_way.sum())
        if alive <= max(0.7 * active.count, until):
            rows = np.flatnonzero(under_way)
            walkers.keep(rows)
            state, event, intercept, slope = walkers.state, event.keep(rows), intercept[:, rows], slope[:, rows]
        if alive:
            _pivot(active, state, event, intercept, slope)


def _step(walkers: _Walkers, intercept: np.ndarray, slope: np.ndarray, levels: np.ndarray, ended: np.ndarray) -> Step:
    state = walkers.state
    return Step(
        state.problems,
        state.signs != 0.0,
        state.signs,
        intercept,
        slope,
        levels,
        ended,
        state.signed,
        state.forced < 0,
        state.digits,
        walkers.active,
    )


@dataclass(slots=True)
class _State:
    problems: np.ndarray
    signs: np.ndarray
    diagonal: np.ndarray
    lowest: np.ndarray  # (k, t) what weight or correlation may be at the end of the phase, at least
    highest: np.ndarray  # and at most
    widening: np.ndarray  # (k, t) 1 where the band widens with the level: outside, in the SIGNED phase
    digits: np.ndarray  # (t,) smallest share of its diagonal that an entering atom's Schur complement had
    levels: np.ndarray
    ends: np.ndarray
    final_ends: np.ndarray  # where the SIGNED phase ends; the WEIGHTED one before it ends at zero
    signed: np.ndarray
    forced: np.ndarray  # atom that must enter next because an exchange is half done, -1 for none
    forced_side: np.ndarray
    events: np.ndarray  # (t,) steps taken

    def joined(self, other: "_State") -> "_State":
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__slots__)
        return _State(*(np.concatenate(pair, -1) for pair in pairs))

    def keep(self, rows: np.ndarray) -> "_State":
        values = (getattr(self, name) for name in self.__slots__)
        return _State(*(value[..., rows] for value in values))


@dataclass(slots=True)
class _Event:
    found: np.ndarray  # (t,) whether anything happens before the end
    pivots: np.ndarray  # (t,) atom that enters or leaves
    sides: np.ndarray  # (t,) sign with which it enters
    levels: np.ndarray  # (t,) where

    def keep(self, rows: np.ndarray) -> "_Event":
        return _Event(self.found[rows], self.pivots[rows], self.sides[rows], self.levels[rows])


def _start(start: Start, phases: Phases) -> _State:
    signs, allowed, ends = start.signs, start.allowed, start.ends
    zeros, none = np.zeros_like(ends), start.problems * 0
    signed = zeros > 0.0 if phases is not Phases.SIGNED else zeros == 0.0
    first_ends = zeros if phases is Phases.WEIGHTED_THEN_SIGNED else ends
    highest = np.where(allowed, np.where(signed, first_ends, 0.0) + CERTAIN, np.inf)
    lowest = np.where(signed, -highest, -np.inf)
    widening = np.where((signs == 0.0) & signed, 1.0, 0.0)
    lowest = np.where(signs != 0.0, np.where(signs > 0.0, -CERTAIN, -np.inf), lowest)
    highest = np.where(signs != 0.0, np.where(signs > 0.0, np.inf, CERTAIN), highest)
    far = zeros + np.inf
    return _State(
        start.problems,
        signs,
        start.diagonal,
        lowest,
        highest,
        widening,
        far,
        far,
        first_ends,
        ends,
        signed,
        none - 1,
        zeros,
        none,
    )


def _lines(active: ActiveSet, signs: np.ndarray, *, sum_one: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weights (inside) and correlations (outside) as intercept + level * slope."""
    first, second = active.rows[0], active.rows[1]
    if not sum_one:
        return first, second
    inside = np.abs(signs)
    total = np.einsum("kt,kt->t", first, inside)
    charged = np.einsum("kt,kt->t", second, inside)
    return first / total, second - first * (charged / total)


def _next_event(state: _State, intercept: np.ndarray, slope: np.ndarray) -> _Event:
    """The largest level between now and the end at which an atom enters or leaves.

    Lines are straight and nothing is violated now, so exactly what is violated at the end has an event on the way.
    """
    columns = np.arange(len(state.ends))
    at_end = slope * state.ends
    at_end += intercept
    violated = (at_end > state.highest) | (at_end < state.lowest)
    # Inside, the line meets zero; outside, +-level in the SIGNED phase and zero in the WEIGHTED one.
    fall = np.copysign(state.widening, at_end) - slope
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.where(violated, intercept / fall, -np.inf)
    pivots = level.argmax(axis=0)
    best = level[pivots, columns]
    due = state.forced >= 0
    found = violated[pivots, columns] | due
    levels = np.where(found, np.minimum(np.maximum(best, state.ends), state.levels), state.ends)
    levels = np.where(due, state.levels, levels)
    sides = np.where(state.signed, np.sign(at_end[pivots, columns]), 1.0)
    return _Event(found, np.where(due, state.forced, pivots), np.where(due, state.forced_side, sides), levels)


def _turn(active: ActiveSet, state: _State, turning: np.ndarray) -> None:
    """Begin the SIGNED phase: on a positive support charges are right-hand side 0 inside and that less 1 outside."""
    rows = np.flatnonzero(turning)
    outside = state.signs[:, rows] == 0.0
    active.rows[1][:, rows] = np.where(outside, 1.0, 0.0) - active.rows[0][:, rows]
    free = outside & (state.highest[:, rows] < np.inf)
    band = state.final_ends[rows] + CERTAIN
    state.highest[:, rows] = np.where(free, band, state.highest[:, rows])
    state.lowest[:, rows] = np.where(free, -band, state.lowest[:, rows])
    state.widening[:, rows] = outside * 1.0
    state.signed = state.signed | turning
    state.ends = np.where(turning, state.final_ends, state.ends)
    state.levels = np.where(turning, np.inf, state.levels)


def _pivot(active: ActiveSet, state: _State, event: _Event, intercept: np.ndarray, slope: np.ndarray) -> None:
    """Let each live problem's atom enter or leave; one that depends on the support first pushes another out."""
    columns = np.arange(active.count)
    live, sides = event.found, event.sides
    pivot = active.prepare(event.pivots, state.signs[event.pivots, columns] != 0.0)
    share = pivot.size / state.diagonal[event.pivots, columns]
    stuck = live & ~pivot.leaving & (share <= DEPENDENT)
    due = state.forced >= 0
    state.forced = np.zeros_like(event.pivots) - 1
    if bool(stuck.any()):
        outgoing, possible = _first_to_vanish(pivot, state, event, intercept, slope)
        exchange = stuck & possible & ~due
        refused = stuck & ~exchange
        barred = np.flatnonzero(refused)
        state.highest[event.pivots[barred], barred] = np.inf
        state.lowest[event.pivots[barred], barred] = -np.inf
        state.forced = np.where(exchange, event.pivots, state.forced)
        state.forced_side = sides
        live = live & ~refused
        pivot = active.prepare(np.where(exchange, outgoing, event.pivots), pivot.leaving | exchange)
        share = np.where(exchange, np.inf, share)
    old = state.signs[pivot.atoms, columns]
    active.rows[1][pivot.atoms, columns] -= np.where(live & ~pivot.leaving & state.signed, sides, 0.0)
    active.apply(pivot, live)
    active.rows[1][pivot.atoms, columns] += np.where(live & pivot.leaving & state.signed, old, 0.0)
    _rebound(state, pivot, live, sides)
    state.levels = np.where(live, event.levels, state.levels)
    state.digits = np.where(live & ~pivot.leaving, np.minimum(state.digits, share), state.digits)


def _rebound(state: _State, pivot: Pivot, live: np.ndarray, sides: np.ndarray) -> None:
    """Signs and bounds of the atoms that moved: a weight keeps its side of zero, a correlation stays in its band."""
    moved = np.flatnonzero(live)
    atoms, leaving = pivot.atoms[moved], pivot.leaving[moved]
    sign = np.where(leaving, 0.0, sides[moved])
    signed = state.signed[moved]
    band = np.where(signed, state.ends[moved], 0.0) + CERTAIN
    state.signs[atoms, moved] = sign
    state.widening[atoms, moved] = np.where(signed & leaving, 1.0, 0.0)
    state.highest[atoms, moved] = np.where(sign > 0.0, np.inf, np.where(sign < 0.0, CERTAIN, band))
    state.lowest[atoms, moved] = np.where(sign > 0.0, -CERTAIN, np.where((sign < 0.0) | ~signed, -np.inf, -band))


def _first_to_vanish(
    pivot: Pivot, state: _State, event: _Event, intercept: np.ndarray, slope: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which weight reaches zero first as weight moves to the entering atom along a direction that keeps the fit."""
    moved = pivot.line * event.sides * state.signs
    # Levels are infinite only before the first event, where weights do not depend on the level.
    level = np.where(np.isfinite(event.levels), event.levels, 0.0)
    weights = np.maximum((intercept + level * slope) * state.signs, 0.0)
    falling = (state.signs != 0.0) & (moved > CERTAIN)
    ratio = np.where(falling, weights / np.where(falling, moved, 1.0), np.inf)
    return ratio.argmin(axis=0), falling.any(axis=0)
