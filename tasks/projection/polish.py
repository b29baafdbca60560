"""From an interior point's weights to exact ones: choose the support by complementarity, solve the equations on it."""

import numpy as np

from tasks.projection.moments import Moments
from tasks.projection.variants import Variant


def polish(moments: Moments, weights: np.ndarray, *, penalty: float, variant: Variant) -> np.ndarray:
    """Weights (k,) with exact zeros that solve the optimality equations on the support of `weights` (moments: t = 1).

    An atom belongs to the support where its weight (in units of its gradient) exceeds the slack of its optimality
    condition: of the two numbers exactly one is zero at the solution, so no threshold on noise is needed. Weights of
    the wrong sign leave, violated atoms enter, one at a time, at most 3 k times. The result is not trusted: the
    caller certifies it.
    """
    gram, correlations = moments.gram[0], moments.correlations[0]
    lam = penalty / 2.0
    signs = np.sign(_strong_part(gram, correlations, weights, lam=lam, variant=variant))
    best = weights
    for _ in range(3 * moments.size):
        best = _solve_on_support(gram, correlations, signs, lam=lam, sums_to_one=variant.sums_to_one)
        wrong = np.where(signs != 0.0, -best * signs, 0.0)
        if lam > 0.0 or not variant.signed:
            if wrong.max() > 0.0:
                signs[int(wrong.argmax())] = 0.0
                continue
            excess = _excess(gram, correlations, best, signs, lam=lam, variant=variant)
            worst = int(excess.argmax())
            if excess[worst] > 1e-12 * max(float(np.diag(gram).max()), 1e-300):
                signs[worst] = _entering_sign(gram, correlations, best, signs, worst, lam=lam, variant=variant)
                continue
        break
    return best


def _multiplier(g: np.ndarray, weights: np.ndarray, *, lam: float, variant: Variant) -> float:
    """Multiplier of the sum constraint: on the support g_j = multiplier + lam sign_j, averaged with the weights."""
    if not variant.sums_to_one:
        return 0.0
    return float(g @ weights - lam * np.abs(weights).sum())


def _strong_part(
    gram: np.ndarray, correlations: np.ndarray, weights: np.ndarray, *, lam: float, variant: Variant
) -> np.ndarray:
    g = correlations - gram @ weights
    g = g - _multiplier(g, weights, lam=lam, variant=variant)
    slack = lam - np.abs(g) if variant.signed else lam - g
    return np.where(np.abs(weights) * np.diag(gram) >= slack, weights, 0.0)


def _solve_on_support(
    gram: np.ndarray, correlations: np.ndarray, signs: np.ndarray, *, lam: float, sums_to_one: bool
) -> np.ndarray:
    on = np.flatnonzero(signs)
    out = np.zeros(len(signs))
    if on.size == 0:
        return out
    scale = max(float(np.diag(gram)[on].mean()), 1e-300)
    system = gram[np.ix_(on, on)] / scale
    right = (correlations[on] - lam * signs[on]) / scale
    if sums_to_one:
        ones = np.ones((on.size, 1))
        system = np.block([[system, ones], [ones.T, np.zeros((1, 1))]])
        right = np.append(right, 1.0)
    # Least squares of least norm: copies of one atom share their weight equally.
    out[on] = np.linalg.lstsq(system, right, rcond=None)[0][: on.size]
    if sums_to_one:
        out[on] += (1.0 - out.sum()) / on.size
    return out


def _excess(
    gram: np.ndarray, correlations: np.ndarray, weights: np.ndarray, signs: np.ndarray, *, lam: float, variant: Variant
) -> np.ndarray:
    """By how much each atom outside the support violates its optimality condition, shape (k,)."""
    g = correlations - gram @ weights
    g = g - _multiplier(g, weights, lam=lam, variant=variant)
    return np.where(signs == 0.0, (np.abs(g) if variant.signed else g) - lam, -np.inf)


def _entering_sign(
    gram: np.ndarray,
    correlations: np.ndarray,
    weights: np.ndarray,
    signs: np.ndarray,
    position: int,
    *,
    lam: float,
    variant: Variant,
) -> float:
    if not variant.signed:
        return 1.0
    g = correlations - gram @ weights
    return float(np.sign(g[position] - _multiplier(g, weights, lam=lam, variant=variant)))
