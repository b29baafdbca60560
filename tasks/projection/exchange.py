"""Find whole supports at once: solve on a guess, exchange every atom on the wrong side of its condition, solve again.

Block principal pivoting (Judice and Pires, "A block principal pivoting algorithm for large-scale strictly monotone
linear complementarity problems", Computers & Operations Research 21, 1994; for the lasso: Kim and Park, "Fast
active-set-type algorithms for L1-regularized linear regression", AISTATS 2010). Four or five small dense systems settle
what a walk along the path (lockstep.py) reaches after ten to twenty events. Nothing bounds the rounds, though, and a
support of dependent atoms has no solution: what is not settled after ROUNDS is left to the walk.
"""

from dataclasses import dataclass

import numpy as np

from tasks.projection.lockstep import Units, units_of
from tasks.projection.moments import Moments
from tasks.projection.variants import Variant
from tasks.projection.walk import CERTAIN

ROUNDS = 12
FIRST = 8  # nearest atoms in the first guess
WORST = 0.3  # of a problem's worst violation: atoms outside that violate their band less wait, and many need not enter
BATCH = 2048  # problems at a time: supports of one size are solved together, and there are many sizes


def exchange_weights(
    moments: Moments, *, penalty: np.ndarray, variant: Variant, allowed: np.ndarray | None
) -> np.ndarray:
    """Weights (t, k), exactly zero outside the support, to be certified by the caller; NaN where nothing was settled.

    penalty (t,) is that of Eq. 5; allowed (t, k) the atoms that may carry weight, all where None. Not for REFIT.
    """
    units = units_of(moments, variant=variant)
    lam = np.zeros_like(penalty) if variant is Variant.SIMPLEX else penalty / 2.0
    may_enter = np.ones(moments.correlations.shape, dtype=bool) if allowed is None else allowed
    out = np.full(moments.correlations.shape, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):  # a singular or empty support's weights are no numbers
        for first in range(0, moments.count, BATCH):
            rows = slice(first, first + BATCH)
            problems = _Problems(moments[rows], lam[rows, None], variant, units[rows], may_enter[rows])
            _settle(problems, out[rows])
        return out / out.sum(axis=1, keepdims=True) if variant.sums_to_one else out


@dataclass(frozen=True, slots=True)
class _Problems:
    """What is solved: moments of t problems, half their penalties (t, 1), their units, and who may enter (t, k)."""

    moments: Moments
    lam: np.ndarray
    variant: Variant
    units: Units
    may_enter: np.ndarray


def _settle(problems: _Problems, out: np.ndarray) -> None:
    """Fill the rows of `out` (t, k) that can be settled."""
    waiting, signs = np.arange(problems.moments.count), _first_guess(problems)
    for _ in range(ROUNDS):
        sizes = np.count_nonzero(signs, axis=1)
        over = np.zeros(len(waiting), dtype=bool)
        for size in np.unique(sizes):
            some = np.flatnonzero(sizes == size)
            weights, changed = _exchanged(problems, waiting[some], signs[some], int(size))
            done = (changed == signs[some]).all(axis=1)
            out[waiting[some[done]]] = weights[done]
            over[some], signs[some] = done, changed
        waiting, signs = waiting[~over], signs[~over]
        if not waiting.size:
            return


def _first_guess(problems: _Problems) -> np.ndarray:
    """Signs (t, k): positive at the nearest atoms that may enter."""
    squares = np.einsum("tkk->tk", problems.moments.gram) - 2.0 * problems.moments.correlations
    squares[~problems.may_enter] = np.inf
    signs = np.zeros_like(squares)
    np.put_along_axis(signs, np.argsort(squares, axis=1, kind="stable")[:, :FIRST], 1.0, axis=1)
    return signs * problems.may_enter


def _exchanged(problems: _Problems, rows: np.ndarray, signs: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (m, k) of the problems `rows` on the supports of `signs` (m, k), and the signs that they call for.

    Without a solution weights are NaN and the signs stay.
    """
    try:
        weights, g = _solved(problems, rows, signs, size)
    except np.linalg.LinAlgError:
        return np.full_like(signs, np.nan), signs
    load, lam = problems.units.load[rows, None], problems.lam[rows]
    excess = (np.abs(g) if problems.variant.signed else g) - lam
    violating = (
        (excess > CERTAIN * load * problems.units.length[rows, None]) & (signs == 0.0) & problems.may_enter[rows]
    )
    excess = np.where(violating, excess, 0.0)
    entering = violating & (excess >= WORST * excess.max(axis=1, keepdims=True))
    staying = np.where(weights * signs < CERTAIN * load, 0.0, signs)
    return weights, np.where(entering, np.sign(g), staying)


def _solved(problems: _Problems, rows: np.ndarray, signs: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (m, k) and correlations with what is left (m, k), where all supports have `size` atoms.

    Systems of one size need no padding, so their bits do not depend on the problems beside them. Correlations are less
    the multiplier where weights sum to one.
    """
    moments, lam, (m, k) = problems.moments, problems.lam[rows], signs.shape
    at = np.flatnonzero(signs).reshape(m, size)  # positions in (m, k)
    atoms = at - k * np.arange(m)[:, None]
    lines = moments.gram.reshape(-1, k).take(k * rows[:, None] + atoms, axis=0)
    square = lines.reshape(-1).take((k * np.arange(m * size)).reshape(m, size, 1) + atoms[:, None, :])
    correlations, charges = moments.correlations[rows], lam * signs.reshape(-1).take(at)
    right = correlations.reshape(-1).take(at) - charges
    if problems.variant.sums_to_one:
        # A constant added to every inner product changes nothing but makes the matrix definite.
        square += problems.units.length[rows, None, None]
        both = np.linalg.solve(square, np.stack([right, np.ones_like(right)], axis=2))
        first, second = both[:, :, 0], both[:, :, 1]
        inside = first + second * ((1.0 - first.sum(axis=1)) / second.sum(axis=1))[:, None]
    else:
        inside = np.linalg.solve(square, right[:, :, None])[:, :, 0]
    g = correlations - np.matmul(inside[:, None, :], lines)[:, 0]
    if problems.variant.sums_to_one:
        g -= (g.reshape(-1).take(at) - charges).sum(axis=1, keepdims=True) / size
    weights = np.zeros_like(signs)
    weights.reshape(-1)[at] = inside
    return weights, g
