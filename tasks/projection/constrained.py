"""A user's own constraints on one target's weights: bounds for each reference, and limits on what groups may carry.

Solved by cvxpy in the form of reference.py, and certified by the Lagrangian dual. With the residual r as dual point and
multipliers mu (sum one) and nu >= 0 (groups), the halved problem is worth at least

    r.z - |r|^2 / 2 + mu - nu.most + sum_j min over [lower_j, upper_j] of lam |w_j| - (g_j + mu - nu of j's groups) w_j

whatever the multipliers, so the solver's need not be exact; the minima lie at a bound or at zero.
"""

from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from tasks.projection.moments import Moments, scales_of
from tasks.projection.projection import NotCertified
from tasks.projection.reference import root_of
from tasks.projection.variants import Variant


@dataclass(frozen=True, slots=True)
class Constraints:
    """lower, upper: (k,) finite bounds of the weights; members (m, k) bool and most (m,): each group's largest sum."""

    lower: np.ndarray
    upper: np.ndarray
    members: np.ndarray
    most: np.ndarray


def project_constrained(
    moments: Moments, constraints: Constraints, *, penalty: float, variant: Variant, tolerance: float
) -> tuple[np.ndarray, float]:
    """Weights (k,) of one problem (moments with t = 1) under constraints, and their relative duality gap.

    A weight whose optimality condition holds it at zero or at a bound is exactly there. Raises NotCertified where the
    gap is above `tolerance`, or no weights satisfy the constraints.
    """
    scale = float(scales_of(moments, variant=variant)[0]) or 1.0
    gram, correlations = moments.gram[0] / scale, moments.correlations[0] / scale
    lower = constraints.lower if variant.signed else np.maximum(constraints.lower, 0.0)
    rough, mu, nu = _solve(gram, correlations, constraints, lower, penalty / scale, variant)
    lam = penalty / scale / 2.0
    pull = mu - constraints.members.T.astype(np.float64) @ nu
    weights = _settled(rough, correlations - gram @ rough + pull, lam, lower, constraints.upper)
    if variant.sums_to_one:  # what settling moved is taken up by the weights that are free
        free = (weights != 0.0) & (weights > lower) & (weights < constraints.upper)
        weights = weights + free * (1.0 - weights.sum()) / max(int(free.sum()), 1)
    _check(weights, constraints, lower, variant)
    fit = gram @ weights
    ends = np.stack([lower, constraints.upper, np.clip(0.0, lower, constraints.upper)])
    least = (lam * np.abs(ends) - (correlations - fit + pull) * ends).min(axis=0).sum()
    # |r|^2 / 2 + lam |w|_1 less the bound; r.z - |r|^2 is w.(correlations - fit), and mu belongs to sum one alone.
    gap = lam * np.abs(weights).sum() - weights @ (correlations - fit) - mu + nu @ constraints.most - least
    if not 2.0 * gap <= tolerance:
        raise NotCertified(f"duality gap {2.0 * gap:.1e} under constraints is above the tolerance {tolerance:.1e}")
    return weights, max(2.0 * float(gap), 0.0)


def _solve(
    gram: np.ndarray,
    correlations: np.ndarray,
    constraints: Constraints,
    lower: np.ndarray,
    penalty: float,
    variant: Variant,
) -> tuple[np.ndarray, float, np.ndarray]:
    """Weights (k,) by CLARABEL, with the multipliers of the sum and of the groups, in the halved problem's units."""
    root, goal = root_of(gram, correlations)
    w = cp.Variable(len(correlations))
    total, conditions = cp.sum(w) == 1, [w >= lower, w <= constraints.upper]
    groups = constraints.members.astype(np.float64) @ w <= constraints.most if len(constraints.most) else None
    conditions += [total] if variant.sums_to_one else []
    conditions += [groups] if groups is not None else []
    problem = cp.Problem(cp.Minimize(cp.sum_squares(goal - root @ w) + penalty * cp.norm1(w)), conditions)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    if w.value is None:
        raise NotCertified(f"no weights satisfy the constraints ({problem.status}); widen the bounds or group limits")
    # cvxpy adds dual * (sum - 1) to the doubled problem's Lagrangian, the formula adds mu (1 - sum) to half of it.
    mu = -float(total.dual_value) / 2.0 if variant.sums_to_one else 0.0
    nu = np.maximum(np.atleast_1d(groups.dual_value), 0.0) / 2.0 if groups is not None else np.empty(0)
    return np.asarray(w.value), mu, nu


def _settled(rough: np.ndarray, pull: np.ndarray, lam: float, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Zero, or the bound, where the optimality condition's slack exceeds the weight's distance from it."""
    at_zero = np.abs(rough) < lam - np.abs(pull)
    # Held at a bound: the gradient pushes outward by more than the weight is away from it.
    at_upper = upper - rough < pull - lam * np.where(upper > 0.0, 1.0, -1.0)
    at_lower = rough - lower < -pull - lam * np.where(lower < 0.0, 1.0, -1.0)
    inside = np.where(at_upper, upper, np.where(at_lower, lower, rough))
    return np.clip(np.where(at_zero, 0.0, inside), lower, upper)


def _check(weights: np.ndarray, constraints: Constraints, lower: np.ndarray, variant: Variant) -> None:
    """Raise unless the weights satisfy every constraint to 1e-9."""
    excess = [0.0, float((lower - weights).max()), float((weights - constraints.upper).max())]
    excess += list(constraints.members @ weights - constraints.most)
    excess += [abs(float(weights.sum()) - 1.0)] if variant.sums_to_one else []
    if max(excess) > 1e-9:
        raise NotCertified(f"weights break a constraint by {max(excess):.1e}; widen the bounds or the group limits")
