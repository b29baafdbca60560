"""Find whole supports at once: solve on a guess, exchange every atom on the wrong side of its condition, solve again.

Block principal pivoting (Judice and Pires, "A block principal pivoting algorithm for large-scale strictly monotone
linear complementarity problems", Computers & Operations Research 21, 1994; for the lasso: Kim and Park, "Fast
active-set-type algorithms for L1-regularized linear regression", AISTATS 2010). Four or five exchanges settle what a
walk along the path (lockstep.py) reaches after ten to twenty events. They may go round in a circle, half of the time
where a few coordinates dwarf the rest; after some rounds atoms are therefore exchanged singly, the last one first
(Murty, "Note on a Bard-type scheme for solving the complementarity problem", Opsearch 11, 1974), which ends where Gram
matrices are definite. What is not settled after ROUNDS is left to the walk.

Compiled, one problem after another. The support's inverse Gram matrix is updated as atoms enter and leave, so that an
exchange costs a square of the support's size and not a cube. All of it stands in one file because the compiler keeps
what it made until the file of the outermost function changes.
"""

from typing import NamedTuple

import numpy as np

from tasks.projection.compiled import compiled
from tasks.projection.lockstep import units_of
from tasks.projection.moments import Moments
from tasks.projection.variants import Variant
from tasks.projection.walk import CERTAIN

TOGETHER = 12  # rounds in which many are exchanged
ROUNDS = 100
FIRST = 8  # nearest atoms in the first guess
WORST = 0.3  # of a problem's worst violation: atoms outside that violate their band less wait, and many need not enter
UNFIT = 10.0  # times what is rounding: weights that miss their own conditions by more are refined
DEPENDENT = 1e-11  # what the support leaves of an atom is rounding below this share of the atom


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
    _settle_all(
        np.ascontiguousarray(moments.gram),
        np.ascontiguousarray(moments.correlations),
        np.ascontiguousarray(may_enter),
        lam,
        units.length,
        CERTAIN * units.load,
        variant.signed,
        variant.sums_to_one,
        out,
    )
    return out / out.sum(axis=1, keepdims=True) if variant.sums_to_one else out


class _Problem(NamedTuple):
    """One problem of k atoms, half its penalty, and the variant.

    gram: (k, k), correlations: (k,), may_enter: (k,). constant: what is added to every inner product, nothing unless
    weights sum to one: it changes nothing then, but makes the matrix definite. noise, band: weights and violations
    below these are rounding.
    """

    gram: np.ndarray
    correlations: np.ndarray
    may_enter: np.ndarray
    lam: float
    constant: float
    noise: float
    band: float
    signed: bool
    sum_one: bool


class _Guess(NamedTuple):
    """Where the search stands. Of slots there are as many as the support has atoms; what lies beyond is never read.

    atoms: (k,), those in the slots; inverse: (k, k), of their Gram matrix; weights: (k,), theirs. signs: (k,), of all
    atoms, zero outside the support; left: (k,), their correlations with the residual, less the multiplier where weights
    sum to one; excess: (k,), by how much those outside violate their condition; right, solution: (k,), for solving.
    """

    atoms: np.ndarray
    inverse: np.ndarray
    weights: np.ndarray
    signs: np.ndarray
    left: np.ndarray
    excess: np.ndarray
    right: np.ndarray
    solution: np.ndarray


@compiled
def _settle_all(
    gram: np.ndarray,
    correlations: np.ndarray,
    may_enter: np.ndarray,
    lam: np.ndarray,
    length: np.ndarray,
    noise: np.ndarray,
    signed: bool,
    sum_one: bool,
    out: np.ndarray,
) -> None:
    """Fill the rows of `out` (t, k) that can be settled."""
    k = correlations.shape[1]
    room = np.empty((6, k))
    guess = _Guess(np.empty(k, np.int64), np.empty((k, k)), room[0], room[1], room[2], room[3], room[4], room[5])
    for i in range(len(out)):
        constant = length[i] if sum_one else 0.0
        band = noise[i] * length[i]
        problem = _Problem(gram[i], correlations[i], may_enter[i], lam[i], constant, noise[i], band, signed, sum_one)
        size = _settle(problem, guess)
        if size >= 0:
            for a in range(k):
                out[i, a] = 0.0
            for j in range(size):
                out[i, guess.atoms[j]] = guess.weights[j]


@compiled
def _settle(problem: _Problem, guess: _Guess) -> int:
    """Size of the support whose weights satisfy every condition, or -1."""
    size = _first_guess(problem, guess)
    for attempt in range(ROUNDS):
        if size < 0 or (problem.sum_one and size == 0):
            return -1
        _weigh(problem, guess, size)
        if _misfit(problem, guess, size) > UNFIT * problem.band:
            _refine(problem, guess, size)
        if not _violated(problem, guess, size):
            _refine(problem, guess, size)  # to the last digits
            if not _violated(problem, guess, size):
                return size
        size = _exchange(problem, guess, size) if attempt < TOGETHER else _exchange_last(problem, guess, size)
    return -1


@compiled
def _first_guess(problem: _Problem, guess: _Guess) -> int:
    """Put the nearest atoms that may enter inside, with positive signs; how many."""
    gram, correlations, may_enter = problem.gram, problem.correlations, problem.may_enter
    signs, squares, k = guess.signs, guess.excess, len(guess.signs)
    for a in range(k):
        signs[a] = 0.0
        squares[a] = gram[a, a] - 2.0 * correlations[a] if may_enter[a] else np.inf
    size = 0
    for _ in range(min(FIRST, k)):
        nearest = int(squares.argmin())
        if squares[nearest] < np.inf and _enter(problem, guess, size, nearest):
            signs[nearest] = 1.0
            size += 1
        squares[nearest] = np.inf
    return size


@compiled
def _weigh(problem: _Problem, guess: _Guess, size: int) -> None:
    """Find the weights of the support for its signs, and what they leave."""
    correlations, weights, left = problem.correlations, guess.weights, guess.left
    for j in range(size):
        weights[j] = 0.0
    for a in range(len(left)):
        left[a] = correlations[a]
    _refine(problem, guess, size)


@compiled
def _misfit(problem: _Problem, guess: _Guess, size: int) -> float:
    """By how much the weights miss the conditions of their own support: what many updates have done to the inverse."""
    atoms, signs, left, lam = guess.atoms, guess.signs, guess.left, problem.lam
    misfit = 0.0
    for j in range(size):
        misfit = max(misfit, abs(left[atoms[j]] - lam * signs[atoms[j]]))
    return misfit


@compiled
def _refine(problem: _Problem, guess: _Guess, size: int) -> None:
    """Correct the weights by what they leave inside, with the inverse at hand."""
    atoms, signs, left, right, lam = guess.atoms, guess.signs, guess.left, guess.right, problem.lam
    for j in range(size):
        right[j] = left[atoms[j]] - lam * signs[atoms[j]]
    _add_solution(problem, guess, size)


@compiled
def _add_solution(problem: _Problem, guess: _Guess, size: int) -> None:
    """Add what solves for `right` to the weights, bring them to their sum, and see what they leave.

    They come to the sum one along the solution for ones, which is the direction in which the multiplier moves them.
    """
    weights, right, solution = guess.weights, guess.right, guess.solution
    _solve(guess, size)
    for j in range(size):
        weights[j] += solution[j]
    if problem.sum_one:
        for j in range(size):
            right[j] = 1.0
        _solve(guess, size)
        missing, total = 1.0, 0.0
        for j in range(size):
            missing -= weights[j]
            total += solution[j]
        for j in range(size):
            weights[j] += missing / total * solution[j]
    _leave_over(problem, guess, size)


@compiled
def _leave_over(problem: _Problem, guess: _Guess, size: int) -> None:
    """Write the correlations with the residual, less the multiplier where weights sum to one, into `left`."""
    atoms, weights, signs, left = guess.atoms, guess.weights, guess.signs, guess.left
    gram, correlations, lam = problem.gram, problem.correlations, problem.lam
    for a in range(len(left)):
        left[a] = correlations[a]
    for j in range(size):
        atom, weight = atoms[j], weights[j]
        for a in range(len(left)):
            left[a] -= weight * gram[atom, a]
    if problem.sum_one:
        multiplier = 0.0
        for j in range(size):
            multiplier += (left[atoms[j]] - lam * signs[atoms[j]]) / size
        for a in range(len(left)):
            left[a] -= multiplier


@compiled
def _violated(problem: _Problem, guess: _Guess, size: int) -> bool:
    """Whether a weight is on the wrong side or an atom outside its band; by how much goes to `excess`."""
    signs, left, excess = guess.signs, guess.left, guess.excess
    may_enter, lam, signed = problem.may_enter, problem.lam, problem.signed
    for a in range(len(left)):
        outside = signs[a] == 0.0 and may_enter[a]
        excess[a] = (abs(left[a]) if signed else left[a]) - lam if outside else 0.0
    violated = excess.max() > problem.band
    for j in range(size):
        violated |= _on_wrong_side(problem, guess, j)
    return violated


@compiled
def _on_wrong_side(problem: _Problem, guess: _Guess, slot: int) -> bool:
    return guess.weights[slot] * guess.signs[guess.atoms[slot]] < problem.noise


@compiled
def _exchange(problem: _Problem, guess: _Guess, size: int) -> int:
    """Let weights on the wrong side leave and the worst violations enter; the new size, or -1 where nothing moves.

    An atom that depends on those inside waits for one of them to leave.
    """
    atoms, signs, left, excess = guess.atoms, guess.signs, guess.left, guess.excess
    enough = max(WORST * excess.max(), problem.band)
    moved = False
    for slot in range(size - 1, -1, -1):
        if _on_wrong_side(problem, guess, slot):
            signs[atoms[slot]] = 0.0
            _leave(guess, size, slot)
            size -= 1
            moved = True
    for a in range(len(excess)):
        if excess[a] >= enough and _enter(problem, guess, size, a):
            signs[a] = 1.0 if left[a] > 0.0 else -1.0
            size += 1
            moved = True
    return size if moved else -1


@compiled
def _exchange_last(problem: _Problem, guess: _Guess, size: int) -> int:
    """Of all that is violated exchange the atom with the largest number; the new size, or -1 where it depends."""
    atoms, signs, left, excess = guess.atoms, guess.signs, guess.left, guess.excess
    last, leaving = -1, -1
    for slot in range(size):
        if _on_wrong_side(problem, guess, slot) and atoms[slot] > last:
            last, leaving = atoms[slot], slot
    for a in range(last + 1, len(excess)):
        if excess[a] > problem.band:
            last, leaving = a, -1
    if leaving >= 0:
        signs[last] = 0.0
        _leave(guess, size, leaving)
        return size - 1
    if not _enter(problem, guess, size, last):
        return -1
    signs[last] = 1.0 if left[last] > 0.0 else -1.0
    return size + 1


@compiled
def _solve(guess: _Guess, size: int) -> None:
    """Write inverse . right into `solution`."""
    inverse, right, solution = guess.inverse, guess.right, guess.solution
    for x in range(size):
        solution[x] = 0.0
    for j in range(size):
        factor = right[j]
        for x in range(size):
            solution[x] += factor * inverse[j, x]


@compiled
def _enter(problem: _Problem, guess: _Guess, size: int, atom: int) -> bool:
    """Add an atom to the support; False, and nothing done, where it depends linearly on those inside."""
    gram, constant = problem.gram, problem.constant
    atoms, inverse, products, along = guess.atoms, guess.inverse, guess.right, guess.solution
    for j in range(size):
        products[j] = gram[atom, atoms[j]] + constant
    _solve(guess, size)
    square = gram[atom, atom] + constant
    unexplained = square
    for j in range(size):
        unexplained -= along[j] * products[j]
    if not unexplained > DEPENDENT * square:
        return False
    atoms[size], along[size] = atom, -1.0
    for j in range(size + 1):
        inverse[j, size] = inverse[size, j] = 0.0
    for j in range(size + 1):
        factor = along[j] / unexplained
        for x in range(size + 1):
            inverse[j, x] += factor * along[x]
    return True


@compiled
def _leave(guess: _Guess, size: int, slot: int) -> None:
    """Take the atom in `slot` out of the support; the one in the last slot moves there."""
    atoms, inverse, along, last = guess.atoms, guess.inverse, guess.solution, size - 1
    for x in range(size):
        along[x] = inverse[slot, x]
    pivot = along[slot]
    for j in range(size):
        factor = along[j] / pivot
        for x in range(size):
            inverse[j, x] -= factor * along[x]
    atoms[slot] = atoms[last]
    for x in range(size):
        inverse[slot, x] = inverse[last, x]
    for j in range(last):
        inverse[j, slot] = inverse[j, last]
