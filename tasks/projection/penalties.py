"""Rules that choose the penalty of Eq. 5, each a small function of a path; the paper gives none.

None of them sees labels. What each is worth is measured in docs/benchmarks.md; the fixed fraction of the library's
spread needs no path at all and is `fraction * spread`.
"""

import numpy as np

from tasks.projection.moments import Moments
from tasks.projection.path import Paths
from tasks.projection.refit import FIT_FLOOR, bic


def squared_residuals(weights: np.ndarray, moments: Moments) -> np.ndarray:
    """||z - sum_i w_i z_i||^2 for weights (t, n, k), shape (t, n)."""
    fit = np.einsum("tnk,tnk->tn", weights, np.matmul(weights, moments.gram))
    reach = np.matmul(weights, moments.correlations[:, :, None])[:, :, 0]
    return np.maximum(moments.energy[:, None] - 2.0 * reach + fit, 0.0)


def penalty_grid(highest: np.ndarray, *, lowest_share: float, count: int) -> np.ndarray:
    """Penalties (t, count) falling geometrically from `highest` (t,) to that share of it."""
    return highest[:, None] * np.geomspace(1.0, lowest_share, count)[None]


def by_bic(paths: Paths, moments: Moments, penalties: np.ndarray, *, dimension: int, scale: np.ndarray) -> np.ndarray:
    """The penalty (t,) among `penalties` (t, n) with the smallest BIC of the path's own, shrunken weights.

    `scale` (t,) is the squared distance below whose FIT_FLOOR-th part residuals count as equal. REFIT applies the same
    criterion to refitted weights, which finds supports far better.
    """
    weights = paths.at(penalties)
    count = (np.abs(weights) > 0.0).sum(axis=2)
    residual = squared_residuals(weights, moments)
    scores = bic(residual, count, dimension=dimension, candidates=moments.size, floor=(FIT_FLOOR * scale)[:, None])
    return np.take_along_axis(penalties, scores.argmin(axis=1)[:, None], 1)[:, 0]


def by_split_half(paths_a: Paths, moments_b: Moments, penalties: np.ndarray, *, slack: float) -> np.ndarray:
    """The largest penalty (t,) whose weights from half a explain half b within `slack` of the best.

    paths_a: paths on the first half of every task's samples; moments_b: the same problems on the second half. It sees
    sampling noise only: error that both halves share, such as a target that no adapter explains, is invisible to it.
    """
    errors = squared_residuals(paths_a.at(penalties), moments_b)
    good = errors <= errors.min(axis=1, keepdims=True) * (1.0 + slack)
    return np.where(good, penalties, -np.inf).max(axis=1)


def by_count(paths: Paths, *, most: int) -> np.ndarray:
    """The smallest penalty (t,) down to which each path has used at most `most` references; NaN where it never has.

    Under AFFINE a path begins with the simplex projection, whose support may already be larger.
    """
    out = np.full(len(paths.starts) - 1, np.nan)
    for target in range(len(out)):
        penalties, weights = paths[target]
        # Between two knots every reference of either may be in use.
        used = (weights != 0.0).sum(axis=1)
        between = np.append(((weights[:-1] != 0.0) | (weights[1:] != 0.0)).sum(axis=1), used[-1])
        fits = np.maximum(used, np.append(used[0], between[:-1])) <= most
        last = int(np.argmin(fits)) if not fits.all() else len(fits)
        if last > 0:
            out[target] = penalties[last - 1]
    return out


def support_agreement(weights_a: np.ndarray, weights_b: np.ndarray) -> np.ndarray:
    """Share (t,) of the references in either half's support, weights (t, k), that are in both: 1 is stable."""
    a, b = weights_a != 0.0, weights_b != 0.0
    either = (a | b).sum(axis=1)
    return np.where(either > 0, (a & b).sum(axis=1) / np.maximum(either, 1), 1.0)
