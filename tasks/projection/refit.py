"""The refit variant: supports from the free l1 path, weights by least squares with sum one, the choice by BIC.

The l1 penalty orders the atoms well but shrinks their weights, and under a sum constraint it cannot select among
nonnegative solutions at all. So the path only proposes supports; each is refitted without penalty, and

    BIC = d log(RSS / d) + (log(d) + 2 log(k)) |support|

decides, d the prototype's dimension and k the number of candidates (the extended criterion of Chen and Chen, Biometrika
95 (2008): Schwarz's log(d) alone lets the best of many useless atoms in). Then atoms leave, the least useful first, for
as long as the criterion falls. The free path is taken about the library's centre, so that the whole is independent of
the origin.
"""

from dataclasses import dataclass

import numpy as np

from tasks.projection.lockstep import start_walk, units_of
from tasks.projection.moments import Moments
from tasks.projection.variants import Variant
from tasks.projection.walk import Step

PATH_END = 1e-3  # of the largest penalty; supports below hold mostly noise, and BIC rejects them
FIT_FLOOR = 1e-12  # of the target's squared distance from the centre: float32 prototypes hold no smaller residual
TIE = 1e-6  # a path can pass one support twice; rounding must not decide which time counts


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen support (t, k) bool, the penalty (t,) of Eq. 5 down to which the free path keeps it, its BIC (t,)."""

    support: np.ndarray
    penalty: np.ndarray
    bic: np.ndarray


def choose_supports(
    about_centre: Moments, squared_distances: np.ndarray, *, dimension: int, allowed: np.ndarray | None
) -> Choice:
    """Best support by BIC among those of the free path and the nearest atom alone.

    about_centre: moments with the origin at the library's centre; squared_distances (t, k) from target to atoms.
    """
    units = units_of(about_centre, variant=Variant.FREE)
    floor = FIT_FLOOR * about_centre.energy
    reachable = squared_distances if allowed is None else np.where(allowed, squared_distances, np.inf)
    nearest = reachable.argmin(axis=1)
    everyone = np.arange(about_centre.count)
    support = np.zeros(about_centre.correlations.shape, dtype=bool)
    support[everyone, nearest] = True
    best = bic(
        reachable[everyone, nearest],
        np.ones(about_centre.count),
        dimension=dimension,
        candidates=about_centre.size,
        floor=floor,
    )
    level = np.ones(about_centre.count) * np.inf
    loaded = (about_centre.correlations / (units.length * units.load)[:, None]).T
    ends = PATH_END * np.abs(loaded).max(axis=0)
    for step in start_walk(about_centre, ends=ends, variant=Variant.FREE, units=units, allowed=allowed, extra_rows=1):
        rows, count = step.problems, step.support.sum(axis=0)
        fit = _refitted(step, loaded[:, rows], about_centre.energy[rows], units.length[rows], units.load[rows])
        score = np.where(
            count > 0, bic(fit, count, dimension=dimension, candidates=about_centre.size, floor=floor[rows]), np.inf
        )
        better = score < best[rows] - TIE
        best[rows[better]] = score[better]
        level[rows[better]] = step.levels[better]
        support[rows[better]] = step.support[:, better].T
    penalty = np.where(np.isfinite(level), units.penalties(level), 2.0 * np.abs(about_centre.correlations).max(axis=1))
    return Choice(support, penalty, best)


def bic(
    squared_residual: np.ndarray, count: np.ndarray, *, dimension: int, candidates: int, floor: np.ndarray
) -> np.ndarray:
    """The extended criterion for supports of `count` among `candidates`; residuals below `floor` are equally good."""
    rss = np.maximum(np.maximum(squared_residual, floor), np.finfo(float).tiny)
    return dimension * np.log(rss / dimension) + price_of_an_atom(dimension, candidates) * count


def price_of_an_atom(dimension: int, candidates: int) -> float:
    """What one more atom must gain in d log(RSS): log(d) + 2 log(k)."""
    return float(np.log(dimension) + 2.0 * np.log(candidates))


def prune(moments: Moments, support: np.ndarray, *, dimension: int, floor: np.ndarray) -> np.ndarray:
    """Take atoms out of each support (t, k), the least useful first, for as long as BIC falls.

    The path enters an atom for good reasons at its penalty that may be gone when the others are refitted. Taking atom
    j out of a least squares fit with sum one raises the squared residual by w_j^2 / C_jj, where C is the inverse of
    the Gram matrix on the support within the directions that keep the sum. Moments with the origin at the target;
    floor (t,): squared residual below which fits count as equal.
    """
    support = support.copy()
    for _ in range(moments.size - 1):
        rows = np.flatnonzero(support.sum(axis=1) > 1)
        some, scale = support[rows], _scale(moments[rows])
        pairs = some[:, :, None] & some[:, None, :]
        inverse = np.linalg.pinv(_shifted(moments[rows], pairs, scale), hermitian=True) * pairs
        along = inverse.sum(axis=2)
        size = along.sum(axis=1)
        weights = along / size[:, None]
        kept = np.diagonal(inverse, axis1=1, axis2=2) - along**2 / size[:, None]
        loss = np.where(some & (kept > 0.0), weights**2 / np.where(kept > 0.0, kept, 1.0), np.inf) * scale[:, None]
        least = loss.argmin(axis=1)
        fit = np.maximum(np.einsum("ti,tij,tj->t", weights, moments.gram[rows], weights), floor[rows])
        raised = np.maximum(fit + loss[np.arange(len(rows)), least], floor[rows])
        gain = dimension * np.log(raised / np.maximum(fit, np.finfo(float).tiny))
        out = gain < price_of_an_atom(dimension, moments.size)
        if not out.any():
            break
        support[rows[out], least[out]] = False
    return support


def _refitted(step: Step, loaded: np.ndarray, energy: np.ndarray, length: np.ndarray, load: np.ndarray) -> np.ndarray:
    """Squared residual (t,) of least squares with sum one: w = p + eta o on the support, p = G^-1 b, o = G^-1 1."""
    inside = step.support
    p = np.where(inside, step.active.rows[0], 0.0)
    o = np.where(inside, step.active.rows[2], 0.0)
    size = np.where(inside.any(axis=0), o.sum(axis=0), 1.0)
    eta = (1.0 - load * p.sum(axis=0)) / size
    explained = load**2 * np.einsum("kt,kt->t", p, loaded)
    return np.maximum(energy - length * explained + length * eta**2 * size, 0.0)


def refit_weights(moments: Moments, support: np.ndarray) -> np.ndarray:
    """Least squares weights (t, k) with sum one on each support (t, k); moments with the origin at the target."""
    pairs = support[:, :, None] & support[:, None, :]
    system = _shifted(moments, pairs, _scale(moments))
    right = support.astype(np.float64)
    try:
        solution = np.linalg.solve(system, right[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:  # one exactly singular support would fail the whole batch
        solution = np.matmul(np.linalg.pinv(system, hermitian=True), right[:, :, None])[:, :, 0]
    weights = np.where(support, solution, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def _scale(moments: Moments) -> np.ndarray:
    scale = np.einsum("tkk->t", moments.gram) / moments.size
    return np.where(scale > 0.0, scale, 1.0)


def _shifted(moments: Moments, pairs: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Gram / scale + 1 on the supports' pairs (t, k, k), the identity elsewhere: on sum one the 1 changes nothing."""
    return np.where(pairs, moments.gram / scale[:, None, None] + 1.0, np.eye(moments.size))
