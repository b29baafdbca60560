"""Solve many projections at once on their moments, exactly, by walking each down to its penalty."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.projection.active import ActiveSet
from tasks.projection.moments import Moments
from tasks.projection.variants import Variant
from tasks.projection.walk import Phases, Start, Step, walk

BATCH = 1000  # problems in lockstep: enough to hide numpy's cost per call, few enough for the second-level cache
FEW_DIGITS = 1e-5  # weights whose worst Schur complement is a smaller share of its diagonal are refined once


@dataclass(frozen=True, slots=True)
class Units:
    """Units in which t problems are walked, (t,) each: squared length of an atom, and size of the weights."""

    length: np.ndarray
    load: np.ndarray

    def __getitem__(self, rows: np.ndarray | slice) -> "Units":
        """The units of some problems."""
        return Units(self.length[rows], self.load[rows])

    def levels(self, penalty: np.ndarray) -> np.ndarray:
        """Penalties of Eq. 5 as levels of the walk."""
        return penalty / (2.0 * self.length * self.load)

    def penalties(self, levels: np.ndarray) -> np.ndarray:
        """Levels of the walk as penalties of Eq. 5."""
        return levels * 2.0 * self.length * self.load


def units_of(moments: Moments, *, variant: Variant) -> Units:
    """Mean squared length of each problem's atoms; weights of order one need no unit where they sum to one."""
    length = np.einsum("tkk->t", moments.gram) / moments.size
    length = np.where(length > 0.0, length, 1.0)
    if variant.sums_to_one:
        return Units(length, np.ones_like(length))
    load = np.abs(moments.correlations).max(axis=1) / length
    return Units(length, np.where(load > 0.0, load, 1.0))


def lockstep_weights(
    moments: Moments, *, penalty: np.ndarray, variant: Variant, allowed: np.ndarray | None
) -> np.ndarray:
    """Weights (t, k), exactly zero outside the support; unverified, to be certified by the caller.

    penalty (t,) is that of Eq. 5; allowed (t, k) the atoms that may carry weight, all where None. A problem
    that could not be walked to its end has NaN. For REFIT see refit.py.
    """
    units = units_of(moments, variant=variant)
    ends = np.zeros(moments.count) if variant is Variant.SIMPLEX else units.levels(penalty)
    out = np.full((moments.size, moments.count), np.nan)
    for step in start_walk(moments, ends=ends, variant=variant, units=units, allowed=allowed):
        if bool(step.ended.any()):
            rows = np.flatnonzero(step.ended)
            out[:, step.problems[rows]] = step.weights(rows)
            rows = np.flatnonzero(step.ended & (step.digits < FEW_DIGITS))
            if len(rows):
                poor = step.problems[rows]
                loaded = 0.0 if variant.sums_to_one else _loaded(moments, units)[:, poor]
                out[:, poor] = _refined(step, rows, loaded, sum_one=variant.sums_to_one)
    weights = out.T * units.load[:, None]
    if not variant.signed:
        weights = np.maximum(weights, 0.0)
    if variant.sums_to_one:
        with np.errstate(invalid="ignore"):  # where the walk lost all weight there is no answer
            weights = weights / weights.sum(axis=1, keepdims=True)
    return weights


def _loaded(moments: Moments, units: Units) -> np.ndarray:
    """Correlations (k, t) in the walk's units."""
    return (moments.correlations / (units.length * units.load)[:, None]).T


def _refined(step: Step, rows: np.ndarray, loaded: np.ndarray | float, *, sum_one: bool) -> np.ndarray:
    """Weights (k, len(rows)) of these problems after one step of iterative refinement with the inverse at hand.

    Many updates leave the inverse with errors of 1e-9 where one coordinate dwarfs the others; one step squares them.
    """
    weights = step.weights(rows)
    inside, signs = step.support[:, rows], step.signs[:, rows]
    # On sum one a constant in the charges is the multiplier's; without it a huge level that acts on nothing is exact.
    charged = step.levels[rows] * (signs - 1.0 if sum_one else signs)
    missing = np.where(inside, loaded - charged - step.active.product(weights, rows), 0.0)
    change = step.active.solve_inside(missing, rows)
    if sum_one:  # the constraint's multiplier moves too: stay on sum one along G^-1 1
        along = step.active.solve_inside(inside * 1.0, rows)
        change = change - along * ((weights + change).sum(axis=0) - 1.0) / along.sum(axis=0)
    better = weights + change
    return np.where(better * signs > 0.0, better, 0.0)


def start_walk(
    moments: Moments,
    *,
    ends: np.ndarray,
    variant: Variant,
    units: Units,
    allowed: np.ndarray | None,
    extra_rows: int = 0,
) -> Iterator[Step]:
    """The walk of all problems in `units` down to the levels `ends` (t,); a step's problems are positions in `moments`.

    `extra_rows` right-hand sides of ones follow the two that the walk itself needs, for whoever reads them.
    """
    return walk(
        _starts(moments, ends, variant, units, allowed, extra_rows),
        phases=phases_of(variant),
        sum_one=variant.sums_to_one,
        limit=20 * moments.size + 20,
    )


def _starts(
    moments: Moments,
    ends: np.ndarray,
    variant: Variant,
    units: Units,
    allowed: np.ndarray | None,
    extra_rows: int,
) -> Iterator[Start]:
    """The problems, as many at a time as fill the lockstep."""
    gram, rate = moments.gram, 1.0 / units.length
    # On sum one, adding a constant to every inner product changes nothing but makes the matrix definite.
    shift = 1.0 if variant.sums_to_one else 0.0
    for first in range(0, moments.count, BATCH):
        rows = np.arange(first, min(first + BATCH, moments.count))
        squares = np.ascontiguousarray(np.einsum("tkk->kt", moments.gram[rows])) / units.length[rows]
        sides = _right_hand_sides(moments[rows], squares, variant, units[rows], extra_rows)
        may_enter = np.ones(squares.shape, dtype=bool) if allowed is None else np.ascontiguousarray(allowed[rows].T)
        active = ActiveSet(gram, rows, rate, shift, sides)
        signs = np.zeros_like(squares)
        if variant.sums_to_one:
            _enter_nearest(active, np.where(may_enter, squares, np.inf), signs)
        yield Start(
            rows,
            active,
            signs,
            squares + shift,
            may_enter,
            np.asarray(ends[rows], dtype=np.float64),
        )


def _right_hand_sides(
    moments: Moments, squares: np.ndarray, variant: Variant, units: Units, extra_rows: int
) -> np.ndarray:
    """What the weights are linear in, (2 + extra, k, t): intercepts, and minus the charges (see walk.py)."""
    ones = np.ones_like(squares)
    if variant.sums_to_one:
        rows = [ones, -squares]
    else:
        rows = [_loaded(moments, units), np.zeros_like(squares) if variant.signed else -ones]
    return np.stack([*rows, *[ones] * extra_rows])


def phases_of(variant: Variant) -> Phases:
    """The phases whose end is the variant's solution; REFIT follows the free path."""
    match variant:
        case Variant.AFFINE:
            return Phases.WEIGHTED_THEN_SIGNED
        case Variant.FREE | Variant.REFIT:
            return Phases.SIGNED
        case _:
            return Phases.WEIGHTED


def _enter_nearest(active: ActiveSet, squares: np.ndarray, signs: np.ndarray) -> None:
    """Start from the nearest atom alone, the solution when every atom is charged its squared distance, enormously."""
    closest = squares.argmin(axis=0)
    everywhere = np.isfinite(signs[0])
    active.apply(active.prepare(closest, ~everywhere), everywhere)
    signs[closest, np.arange(active.count)] = 1.0
