"""Duality gaps from moments, penalty and weights alone: evidence that does not depend on the solver that is judged.

In the halved problem (loss |r|^2 / 2, lam = penalty / 2) the residual r, scaled by s, is a dual point theta = s r:

    free         D(s) = s r.z - s^2 r.r / 2,                        0 <= s <= lam / max|g|
    nonnegative  the same,                                          0 <= s <= lam / max g  (no limit where max g <= 0)
    affine       D(s) = s r.z - s^2 r.r / 2 - (s max g - lam),      0 <= s <= 2 lam / (max g - min g)
    simplex      the same,                                          0 <= s

with g = atoms . r. The best s has a closed form, and primal - D(s) bounds how far the weights are from optimal. Where
the penalty is nearly zero that bound is useless (s is forced to zero), and a second one takes over: the penalised
problem cannot gain more than the least squares part can, plus the penalty's own slack lam (|w|_1 - least |w|_1).
Nonnegative weights have no such bound; for them r is moved into the dual's region instead of scaled.
"""

from dataclasses import dataclass

import numpy as np

from tasks.projection.moments import GRAIN, Moments, scales_of
from tasks.projection.variants import Variant

ROUNDING = 1e-11  # a sum of k <= a few thousand float64 weights is exact to this, relative to |w|_1


@dataclass(frozen=True, slots=True)
class Extremes:
    """Largest and smallest correlation (t,) with the residual among atoms that the moments leave out."""

    high: np.ndarray
    low: np.ndarray


def relative_gaps(
    moments: Moments,
    weights: np.ndarray,
    *,
    penalty: np.ndarray,
    variant: Variant,
    beyond: Extremes | None = None,
) -> np.ndarray:
    """Duality gap of each problem's weights (t, k) over the problem's scale, shape (t,); infinite where infeasible.

    `penalty` (t,) is that of Eq. 5. `beyond` extends the judgement to a library of which the moments hold only some
    atoms. For REFIT the judged problem is least squares with sum one on the given support.
    """
    gaps = duality_gaps(moments, weights, penalty=penalty, variant=variant, beyond=beyond)
    scales = scales_of(moments, variant=variant)
    return np.where(gaps == 0.0, 0.0, gaps / np.where(scales > 0.0, scales, np.finfo(float).tiny))


def duality_gaps(
    moments: Moments, weights: np.ndarray, *, penalty: np.ndarray, variant: Variant, beyond: Extremes | None = None
) -> np.ndarray:
    """Upper bound on objective minus optimum, shape (t,), in the units of Eq. 5."""
    if variant is Variant.REFIT:
        gaps = _least_squares_gaps(moments, weights, held=weights == 0.0, sums_to_one=True)
    else:
        gaps = _scaled_residual_gaps(moments, weights, lam=penalty / 2.0, variant=variant, beyond=beyond)
        if beyond is None and variant.signed:
            gaps = np.minimum(gaps, _slack_gaps(moments, weights, gaps, lam=penalty / 2.0, variant=variant))
        if beyond is None and variant is Variant.NONNEGATIVE:
            gaps = np.minimum(gaps, _shifted_residual_gaps(moments, weights, gaps, lam=penalty / 2.0))
    return np.where(_feasible(weights, variant), 2.0 * np.maximum(gaps, 0.0) + _rounding(moments, weights), np.inf)


def _rounding(moments: Moments, weights: np.ndarray) -> np.ndarray:
    """What float64 can lose of w'Gw, (t,): nothing to speak of, except with the enormous weights of a collinear fit."""
    mass = np.einsum("tk,tk->t", np.abs(weights), np.sqrt(np.einsum("tkk->tk", moments.gram)))
    return np.sqrt(moments.size) * np.finfo(float).eps * mass**2


def _scaled_residual_gaps(
    moments: Moments, weights: np.ndarray, *, lam: np.ndarray, variant: Variant, beyond: Extremes | None
) -> np.ndarray:
    fit = np.matmul(moments.gram, weights[:, :, None])[:, :, 0]
    g = moments.correlations - fit
    reach = np.einsum("tk,tk->t", weights, moments.correlations)
    rr = np.maximum(moments.energy - 2.0 * reach + np.einsum("tk,tk->t", weights, fit), 0.0)
    rz = moments.energy - reach
    high, low = g.max(axis=1), g.min(axis=1)
    if beyond is not None:
        high, low = np.maximum(high, beyond.high), np.minimum(low, beyond.low)
    mass = np.abs(weights).sum(axis=1)
    constant = lam if variant.sums_to_one else np.zeros_like(lam)
    slope = rz - high if variant.sums_to_one else rz
    with np.errstate(divide="ignore", invalid="ignore"):
        match variant:
            case Variant.FREE:
                limit = lam / np.maximum(high, -low)
            case Variant.NONNEGATIVE:
                limit = np.where(high > 0.0, lam / high, np.inf)
            case Variant.AFFINE:
                limit = 2.0 * lam / (high - low)
            case _:
                limit = np.full_like(lam, np.inf)
        # 0/0: nothing limits s, or the residual is zero and any s gives the same dual value.
        limit = np.nan_to_num(limit, nan=np.inf, posinf=np.inf)
        best = np.where(rr > 0.0, slope / rr, 0.0)
    s = np.clip(best, 0.0, limit)
    return (rr / 2.0 + lam * mass) - (s * slope - s**2 * rr / 2.0 + constant)


def _slack_gaps(
    moments: Moments, weights: np.ndarray, gaps: np.ndarray, *, lam: np.ndarray, variant: Variant
) -> np.ndarray:
    """Least squares gap plus the penalty's slack, for signed variants at penalties that are almost nothing."""
    least = 1.0 if variant.sums_to_one else 0.0
    slack = lam * (np.abs(weights).sum(axis=1) - least)
    out = np.full_like(gaps, np.inf)
    rows = np.flatnonzero(slack < gaps)
    if rows.size:
        none_held = np.zeros((rows.size, moments.size), dtype=bool)
        least_squares = _least_squares_gaps(
            moments[rows], weights[rows], held=none_held, sums_to_one=variant.sums_to_one
        )
        out[rows] = least_squares + slack[rows]
    return out


def _shifted_residual_gaps(moments: Moments, weights: np.ndarray, gaps: np.ndarray, *, lam: np.ndarray) -> np.ndarray:
    """Gaps of nonnegative weights from the dual point r - shift p, where p has the product 1 with every atom.

    At a penalty of almost nothing, a correlation that rounding has left above it scales r to zero. Moving r instead
    costs shift times the weights' sum. Infinite where no such p makes a dual point, or where none is needed.
    """
    out = np.full_like(gaps, np.inf)
    g = moments.correlations - np.matmul(moments.gram, weights[:, :, None])[:, :, 0]
    for row in np.flatnonzero((gaps > ROUNDING * moments.energy) & (g.max(axis=1) > lam)):
        gram = moments.gram[row]
        y = np.linalg.pinv(gram, rcond=len(gram) * GRAIN, hermitian=True).sum(axis=1)
        products = gram @ y
        shift = float(((g[row] - lam[row]) / np.where(products > 0.5, products, 1.0)).max())
        if (g[row] - shift * products <= lam[row] * (1.0 + ROUNDING)).all():
            slack = lam[row] * weights[row].sum() - g[row] @ weights[row]
            out[row] = slack + shift * (weights[row] @ products) + shift**2 * (y @ products) / 2.0
    return out


def _least_squares_gaps(moments: Moments, weights: np.ndarray, *, held: np.ndarray, sums_to_one: bool) -> np.ndarray:
    """Exact suboptimality e' G^+ e / 2 of unpenalised weights, where `held` (t, k) entries may not move.

    e is the gradient within the allowed directions. What it has along eigenvectors without energy is rounding, of this
    arithmetic or of the float32 prototypes themselves, and is left out: weights that chase it are enormous.
    """
    free = (~held).astype(np.float64)
    count = free.sum(axis=1)
    e = (moments.correlations - np.matmul(moments.gram, weights[:, :, None])[:, :, 0]) * free
    gram = moments.gram * free[:, :, None] * free[:, None, :]
    if sums_to_one:
        # Project onto directions that keep the sum: P = I - 1 1' / n on the free entries.
        e -= free * (e.sum(axis=1) / np.maximum(count, 1.0))[:, None]
        rows = gram.sum(axis=2) / np.maximum(count, 1.0)[:, None]
        mean = rows.sum(axis=1) / np.maximum(count, 1.0)
        gram = gram - rows[:, :, None] * free[:, None, :] - free[:, :, None] * rows[:, None, :]
        gram += mean[:, None, None] * free[:, :, None] * free[:, None, :]
    values, vectors = np.linalg.eigh(gram)
    parts = np.matmul(vectors.transpose(0, 2, 1), e[:, :, None])[:, :, 0]
    cut = values[:, -1:] * moments.size * GRAIN
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values > cut, parts**2 / values, 0.0).sum(axis=1) / 2.0


def _feasible(weights: np.ndarray, variant: Variant) -> np.ndarray:
    mass = np.abs(weights).sum(axis=1)
    ok = np.isfinite(mass)
    if variant.sums_to_one:
        ok &= np.abs(weights.sum(axis=1) - 1.0) <= ROUNDING * mass
    if not variant.signed:
        ok &= (weights >= 0.0).all(axis=1)
    return ok
