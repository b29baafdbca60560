"""Optimal over the whole library, not only over a neighbourhood: solve, price all references, add violators, repeat.

At the optimum over a few atoms, a reference outside can improve the objective only if its correlation with the residual
leaves the band that the penalty allows. One float32 matrix product prices all references; those too close to the
band's edge for float32 are priced again in float64, so the certificate holds for the whole library (column generation;
for the lasso: Massias, Gramfort, Salmon, "Celer", ICML 2018, whose working sets these are). Once no more references are
left outside than one round would add, the next round takes them all and there is nothing left to price.
"""

from dataclasses import dataclass

import numpy as np

from tasks.projection.certificate import Extremes, relative_gaps
from tasks.projection.duplicates import copy_distance
from tasks.projection.moments import gather_moments
from tasks.projection.solve import Solved, solve_moments
from tasks.projection.variants import Variant

LIBRARY_BLOCK = 8192  # references priced in one product
TARGET_BLOCK = 256
ADDED = 16  # violators added to a target's atoms in one round
ROUNDS = 60
CONFIDENCE = 6.0  # see neighbours.py


@dataclass(frozen=True, slots=True)
class LibraryWeights:
    """Weights of one target over a whole library of n references.

    references (m,): sorted rows of the library with weight; weights (m,); gap: relative duality gap over all n;
    lost: whether a reference outside the neighbourhood carries weight, so that retrieval alone would have missed it;
    rounds: matrix products with the library that it took.
    """

    references: np.ndarray
    weights: np.ndarray
    gap: float
    lost: bool
    rounds: int


def project_on_library(
    library: np.ndarray,
    neighbourhoods: np.ndarray,
    targets: np.ndarray,
    *,
    variant: Variant,
    penalty: np.ndarray,
    spread: float,
    longest: float,
    tolerance: float,
) -> tuple[LibraryWeights, ...]:
    """Certified optimal weights of `targets` (t, d) over all of `library` (n, d, prepared), from neighbourhoods (t, k).

    penalty (t,) is that of Eq. 5, absolute; `longest` is the length of the longest reference (`longest_of`), which
    bounds the rounding of the products. Near copies share their weight, as in `project`, also where only one of them
    is in the neighbourhood. A gap above `tolerance` is returned as it is, for the caller to refuse: without any penalty
    many references can be exactly tied, and a library too large to be solved whole may not be decided in ROUNDS.
    Raises ValueError for REFIT.
    """
    if variant is Variant.REFIT:
        raise ValueError("refit chooses among the supports of a neighbourhood's path; it has no optimum over a library")
    out: list[LibraryWeights] = []
    for first in range(0, len(targets), TARGET_BLOCK):
        rows = slice(first, first + TARGET_BLOCK)
        block = _Block(library, targets[rows], variant, penalty[rows], spread, tolerance, longest)
        out.extend(block.solve(neighbourhoods[rows]))
    return tuple(out)


def longest_of(library: np.ndarray) -> float:
    """Length of the longest reference of a library (n, d), a block at a time; once per snapshot is enough."""
    blocks = (library[first : first + LIBRARY_BLOCK] for first in range(0, len(library), LIBRARY_BLOCK))
    return float(np.sqrt(max(np.einsum("nd,nd->n", block, block, dtype=np.float64).max() for block in blocks)))


def most_correlated(library: np.ndarray, targets: np.ndarray, *, count: int) -> np.ndarray:
    """Rows (t, count) of the references most correlated with each target: where the free variant best starts."""
    best = np.empty((len(targets), 0), dtype=np.int64)
    values = np.empty((len(targets), 0), dtype=np.float32)
    for first in range(0, len(library), LIBRARY_BLOCK):
        products = np.abs(targets @ np.asarray(library[first : first + LIBRARY_BLOCK]).T)
        size = min(count, products.shape[1])
        top = np.argpartition(products, -size, axis=1)[:, -size:]
        best = np.concatenate([best, top + first], axis=1)
        values = np.concatenate([values, np.take_along_axis(products, top, 1)], axis=1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(best, order, 1)


@dataclass(frozen=True, slots=True)
class _Block:
    library: np.ndarray
    targets: np.ndarray
    variant: Variant
    penalty: np.ndarray
    spread: float
    tolerance: float
    longest: float

    def solve(self, neighbourhoods: np.ndarray) -> list[LibraryWeights]:
        done: dict[int, LibraryWeights] = {}
        waiting, atoms = np.arange(len(self.targets)), neighbourhoods
        for rounds in range(1, ROUNDS + 1):
            solved = self._solve(atoms, waiting)
            whole = atoms.shape[1] == len(self.library)
            prices = _nothing_outside(solved, atoms) if whole else self._price(solved, atoms, waiting)
            finished = (prices.gaps <= self.tolerance) & ~prices.copies | whole | (rounds == ROUNDS)
            for i in np.flatnonzero(finished):
                known = neighbourhoods[waiting[i]]
                done[int(waiting[i])] = _answer(atoms[i], solved.weights[i], float(prices.gaps[i]), known, rounds)
            left = ~finished
            if not left.any():
                break
            waiting, atoms = waiting[left], self._wider(atoms[left], prices.best[left])
        return [done[i] for i in range(len(self.targets))]

    def _solve(self, atoms: np.ndarray, waiting: np.ndarray) -> Solved:
        return solve_moments(
            gather_moments(self.library, atoms, self.targets[waiting], variant=self.variant),
            None,
            variant=self.variant,
            penalty=self.penalty[waiting],
            spread=self.spread,
            dimension=self.library.shape[1],
            tolerance=self.tolerance,
            accelerated=None,
        )

    def _wider(self, atoms: np.ndarray, best: np.ndarray) -> np.ndarray:
        if len(self.library) - atoms.shape[1] <= ADDED:
            return np.tile(np.arange(len(self.library)), (len(atoms), 1))
        return np.concatenate([atoms, best], axis=1)

    def _price(self, solved: Solved, atoms: np.ndarray, waiting: np.ndarray) -> "_Prices":
        """Price all references outside each target's atoms against the band that its penalty allows."""
        lam, moments = solved.penalty / 2.0, solved.moments
        g = moments.correlations - np.matmul(moments.gram, solved.weights[:, :, None])[:, :, 0]
        high = g.max(axis=1) if self.variant.sums_to_one else lam
        low = high - 2.0 * lam if self.variant.signed else np.full_like(high, -np.inf)
        goals = self.targets[waiting].astype(np.float64)
        residuals = _residual_vectors(self.library, atoms, solved.weights, goals, variant=self.variant)
        lengths = np.linalg.norm(residuals, axis=1)
        # With sum one the moments have their origin at the target, and prices must too.
        origin = np.einsum("td,td->t", goals, residuals) if self.variant.sums_to_one else np.zeros(len(goals))
        rounding = CONFIDENCE * np.sqrt(goals.shape[1]) * 2.0**-24 * self.longest * lengths
        best, scores = self._most_violating(residuals, atoms, high + origin, low + origin, rounding)
        # A copy's price differs from its original's by no more than this, and originals with weight are at the edge.
        reach = np.sqrt(copy_distance(self.spread)) * lengths
        exact = np.full(scores.shape, -np.inf)
        rows, columns = np.nonzero(scores > -(rounding + reach)[:, None])
        for first in range(0, len(rows), LIBRARY_BLOCK):
            r, c = rows[first : first + LIBRARY_BLOCK], columns[first : first + LIBRARY_BLOCK]
            prices = np.einsum("md,md->m", self.library[best[r, c]].astype(np.float64), residuals[r]) - origin[r]
            exact[r, c] = np.maximum(prices - high[r], low[r] - prices)
        # What was not among the most violating scores at most the last of them, up to rounding.
        excess = np.maximum(np.maximum(exact.max(axis=1), scores.min(axis=1) + rounding), 0.0)
        beyond = Extremes(high + excess, np.where(np.isfinite(low), low - excess, np.inf))
        gaps = relative_gaps(moments, solved.weights, penalty=solved.penalty, variant=self.variant, beyond=beyond)
        copies = np.zeros(len(goals), dtype=bool)
        for i in np.unique(rows):
            carrying = atoms[i, np.flatnonzero(solved.weights[i])]
            copies[i] = self._is_copy(best[i, columns[rows == i]], carrying, goals[i])
        return _Prices(best, gaps, copies)

    def _is_copy(self, candidates: np.ndarray, carrying: np.ndarray, goal: np.ndarray) -> bool:
        """Whether any of the rows `candidates` holds a copy of one that carries weight; measured about the target."""
        ours, theirs = (self.library[rows].astype(np.float64) - goal for rows in (candidates, carrying))
        squares = np.square(ours).sum(axis=1)[:, None] + np.square(theirs).sum(axis=1) - 2.0 * ours @ theirs.T
        return bool((squares <= copy_distance(self.spread)).any())

    def _most_violating(
        self, residuals: np.ndarray, atoms: np.ndarray, high: np.ndarray, low: np.ndarray, rounding: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ADDED references (t, ADDED) that leave the band most, or come nearest to it, with float32 scores."""
        t = len(residuals)
        best, scores = np.zeros((t, ADDED), dtype=np.int64), np.full((t, ADDED), -np.inf)
        narrow = residuals.astype(np.float32)
        top, bottom = high.astype(np.float32)[:, None], low.astype(np.float32)[:, None]
        for first in range(0, len(self.library), LIBRARY_BLOCK):
            block = np.asarray(self.library[first : first + LIBRARY_BLOCK])
            products = narrow @ block.T
            score = products - top
            if self.variant.signed:
                np.subtract(bottom, products, out=products)
                np.maximum(score, products, out=score)
            members, columns = np.nonzero((atoms >= first) & (atoms < first + len(block)))
            score[members, atoms[members, columns] - first] = -np.inf
            # Only what could enter the running list is sorted; below the band's edge nothing needs to.
            rows = np.flatnonzero(score.max(axis=1) > np.minimum(scores.min(axis=1), -rounding))
            size = min(ADDED, len(block))
            at = np.argpartition(score[rows], -size, axis=1)[:, -size:]
            joined_scores = np.concatenate([scores[rows], np.take_along_axis(score[rows], at, 1)], axis=1)
            joined_best = np.concatenate([best[rows], at + first], axis=1)
            keep = np.argsort(-joined_scores, axis=1, kind="stable")[:, :ADDED]
            best[rows] = np.take_along_axis(joined_best, keep, 1)
            scores[rows] = np.take_along_axis(joined_scores, keep, 1)
        return best, scores


@dataclass(frozen=True, slots=True)
class _Prices:
    """What t targets' weights are worth over the whole library.

    best (t, ADDED): rows of the references that would improve them most; gaps (t,): relative, over all references;
    copies (t,): whether `best` holds a copy of a reference with weight, which has to share it.
    """

    best: np.ndarray
    gaps: np.ndarray
    copies: np.ndarray


def _nothing_outside(solved: Solved, atoms: np.ndarray) -> _Prices:
    return _Prices(atoms[:, :0], solved.gaps, np.zeros(len(atoms), dtype=bool))


def _residual_vectors(
    library: np.ndarray, atoms: np.ndarray, weights: np.ndarray, goals: np.ndarray, *, variant: Variant
) -> np.ndarray:
    """Residuals target - sum_i w_i atom_i (t, d) in float64, from the atoms that carry weight."""
    out = np.empty_like(goals)
    for i, row in enumerate(weights):
        on = np.flatnonzero(row)
        carried = library[atoms[i, on]].astype(np.float64)
        out[i] = row[on] @ (goals[i] - carried) if variant.sums_to_one else goals[i] - row[on] @ carried
    return out


def _answer(atoms: np.ndarray, weights: np.ndarray, gap: float, known: np.ndarray, rounds: int) -> LibraryWeights:
    on = np.flatnonzero(weights)
    order = on[np.argsort(atoms[on])]
    lost = bool(np.setdiff1d(atoms[on], known).size)
    return LibraryWeights(atoms[order], weights[order], gap, lost, rounds)
