"""The problem once, in cvxpy, to be read next to Eq. 5; every fast solver is held against this one.

The data enter as R with R'R = Gram and y with R'y = correlations, so the size is that of the neighbourhood. R, y and
penalty are parameters (DPP): one compiled problem serves every target with as many atoms.
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache

import cvxpy as cp
import numpy as np

from tasks.projection.moments import Moments, scales_of
from tasks.projection.variants import Variant


@dataclass(frozen=True, slots=True)
class ReferenceProblem:
    """One compiled problem and its parameters."""

    problem: cp.Problem
    weights: cp.Variable
    root: cp.Parameter
    goal: cp.Parameter
    penalty: cp.Parameter


@lru_cache(maxsize=64)
def reference_problem(size: int, variant: Variant) -> ReferenceProblem:
    """Eq. 5 with `size` atoms: compiled once per process for each (size, variant)."""
    w = cp.Variable(size)
    root = cp.Parameter((size, size))
    goal = cp.Parameter(size)
    penalty = cp.Parameter(nonneg=True)
    constraints = []
    if variant.sums_to_one:
        constraints.append(cp.sum(w) == 1)
    if not variant.signed:
        constraints.append(w >= 0)
    objective = cp.Minimize(cp.sum_squares(goal - root @ w) + penalty * cp.norm1(w))
    return ReferenceProblem(cp.Problem(objective, constraints), w, root, goal, penalty)


def root_of(gram: np.ndarray, correlations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R (k, k) and y (k,) with R'R = gram and R'y = correlations; a singular gram (duplicates, k > d) is welcome."""
    values, vectors = np.linalg.eigh(gram)
    cut = max(values[-1], 0.0) * len(values) * np.finfo(float).eps
    lengths = np.sqrt(np.maximum(values, 0.0))
    inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=values > cut)
    return lengths[:, None] * vectors.T, inverse * (vectors.T @ correlations)


def solve_reference(moments: Moments, *, penalty: float, variant: Variant, precision: float) -> np.ndarray:
    """Weights (k,) of one problem (moments with t = 1) by CLARABEL, as an interior point leaves them (no exact zeros).

    The problem is divided by its scale first, so that `precision` means the same for every library.
    """
    scale = float(scales_of(moments, variant=variant)[0]) or 1.0
    reference = reference_problem(moments.size, variant)
    reference.root.value, reference.goal.value = root_of(moments.gram[0] / scale, moments.correlations[0] / scale)
    reference.penalty.value = penalty / scale
    with warnings.catch_warnings():
        # "Solution may be inaccurate": near 1e-12 it always may, and the caller certifies every solution itself.
        warnings.simplefilter("ignore", UserWarning)
        reference.problem.solve(
            solver=cp.CLARABEL, tol_gap_abs=precision, tol_gap_rel=precision, tol_feas=precision, max_iter=500
        )
    if reference.weights.value is None:
        raise ArithmeticError(f"CLARABEL ended as {reference.problem.status} on {moments.size} atoms")
    return np.asarray(reference.weights.value, dtype=np.float64)
