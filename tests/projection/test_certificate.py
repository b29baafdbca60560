"""A duality gap is an upper bound on what could still be gained, whoever proposed the weights."""

import itertools

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.projection.certificate import duality_gaps, relative_gaps
from tasks.projection.moments import Moments, moments_of
from tasks.projection.reference import solve_reference
from tasks.projection.variants import Variant
from tests.projection.cases import KINDS, case_of, objective, solve

JUDGED = [Variant.AFFINE, Variant.FREE, Variant.NONNEGATIVE, Variant.SIMPLEX]
modest = settings(max_examples=40, deadline=None, derandomize=True)


def small_problem(seed: int, variant: Variant) -> tuple[Moments, float]:
    rng = np.random.default_rng(seed)
    k, d = int(rng.integers(1, 5)), int(rng.integers(4, 8))
    atoms, target = rng.normal(size=(1, k, d)) + rng.choice([0.0, 3.0]), rng.normal(size=(1, d))
    return moments_of(atoms, target, variant=variant), float(rng.choice([1e-12, 1e-6, 0.1, 1.0, 5.0]))


def optimum_in_fifty_digits(moments: Moments, penalty: float, variant: Variant) -> mpmath.mpf:
    """The least value of Eq. 5, by solving the optimality equations on every sign pattern in 50-digit arithmetic."""
    with mpmath.workdps(50):
        gram = mpmath.matrix(moments.gram[0].tolist())
        correlations = mpmath.matrix(moments.correlations[0].tolist())
        penalty_mp, energy = mpmath.mpf(penalty), mpmath.mpf(float(moments.energy[0]))
        values = [] if variant.sums_to_one else [energy]
        for signs in itertools.product((0, 1, -1) if variant.signed else (0, 1), repeat=moments.size):
            on = [i for i, sign in enumerate(signs) if sign]
            weights = _stationary(gram, correlations, penalty_mp, signs, on, variant) if on else None
            if weights is None or any(w * signs[i] < 0 for w, i in zip(weights, on, strict=True)):
                continue
            linear = sum(w * correlations[i] for w, i in zip(weights, on, strict=True))
            square = sum(
                v * w * gram[i, j] for v, i in zip(weights, on, strict=True) for w, j in zip(weights, on, strict=True)
            )
            values.append(energy - 2 * linear + square + penalty_mp * sum(abs(w) for w in weights))
        return min(values)


def _stationary(gram, correlations, penalty, signs, on, variant):
    size = len(on) + variant.sums_to_one
    system, right = mpmath.zeros(size), mpmath.zeros(size, 1)
    for a, i in enumerate(on):
        right[a] = correlations[i] - penalty / 2 * signs[i]
        for b, j in enumerate(on):
            system[a, b] = gram[i, j]
        if variant.sums_to_one:
            system[a, size - 1] = system[size - 1, a] = 1
    if variant.sums_to_one:
        right[size - 1] = 1
    try:
        solution = mpmath.lu_solve(system, right)
    except ZeroDivisionError:
        return None
    return [solution[a] for a in range(len(on))]


def value_of(moments: Moments, weights: np.ndarray, penalty: float) -> float:
    square = weights @ moments.gram[0] @ weights - 2.0 * weights @ moments.correlations[0] + moments.energy[0]
    return float(square + penalty * np.abs(weights).sum())


@pytest.mark.parametrize("variant", JUDGED)
@modest
@given(seed=st.integers(0, 9999))
def test_no_weights_are_further_from_the_optimum_than_their_gap_says(variant, seed):
    moments, penalty = small_problem(seed, variant)
    best = float(optimum_in_fifty_digits(moments, penalty, variant))
    rng = np.random.default_rng(seed)
    for _ in range(5):
        weights = rng.normal(size=moments.size)
        weights = weights if variant.signed else np.abs(weights)
        if variant.sums_to_one:
            total = weights.sum()
            weights = weights / total if abs(total) > 0.1 else np.full(moments.size, 1.0 / moments.size)
        gap = duality_gaps(moments, weights[None], penalty=np.array([penalty]), variant=variant)[0]
        excess = value_of(moments, weights, penalty) - best
        assert -1e-9 * (1.0 + abs(best)) <= excess <= gap * (1.0 + 1e-9) + 1e-9 * (1.0 + abs(best))


@pytest.mark.parametrize("variant", JUDGED)
@modest
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 9999))
def test_every_kind_of_library_is_certified_without_any_penalty(variant, kind, seed):
    assert solve(case_of(kind, seed), variant, 0.0).duality_gap <= 1e-8


def test_enormous_weights_that_chase_the_rounding_of_collinear_prototypes_are_not_certified():
    case = case_of("collinear", 950)
    weights = np.zeros(len(case.atoms))
    weights[:2] = 1e8 + 0.5, 0.5 - 1e8  # exact in float64; what they fit is lost in it
    moments = moments_of(case.atoms[None], case.target[None], variant=Variant.AFFINE)
    assert relative_gaps(moments, weights[None], penalty=np.zeros(1), variant=Variant.AFFINE)[0] > 1.0
    assert np.abs(solve(case, Variant.AFFINE, 0.0).weights).max() < 1e4


@pytest.mark.parametrize("variant", JUDGED)
@modest
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 9999), penalty=st.sampled_from([0.01, 0.1, 1.0]))
def test_the_fast_path_and_cvxpy_reach_the_same_objective(variant, kind, seed, penalty):
    case = case_of(kind, seed)
    fast = solve(case, variant, penalty)
    moments = moments_of(case.atoms[None], case.target[None], variant=variant)
    slow = solve_reference(moments, penalty=fast.penalty, variant=variant, precision=1e-12)
    if variant.sums_to_one:
        slow = slow / slow.sum()
    scale = float(np.square(case.atoms.astype(float) - case.target).sum(axis=1).mean()) + float(
        np.square(case.target.astype(float)).sum() * (not variant.sums_to_one)
    )
    assert objective(case, fast.weights, fast.penalty) <= objective(case, slow, fast.penalty) + 1e-9 * scale


def test_the_fast_path_reaches_the_fifty_digit_optimum():
    for variant, seed in itertools.product(JUDGED, range(15)):
        moments, penalty = small_problem(seed, variant)
        from tasks.projection.lockstep import lockstep_weights

        weights = lockstep_weights(moments, penalty=np.array([penalty]), variant=variant, allowed=None)[0]
        best = float(optimum_in_fifty_digits(moments, penalty, variant))
        assert value_of(moments, weights, penalty) == pytest.approx(best, abs=1e-11 * (1.0 + float(moments.energy[0])))


def test_weights_that_break_their_constraints_have_an_infinite_gap():
    moments, penalty = small_problem(3, Variant.SIMPLEX)
    k = moments.size
    for variant, weights in (
        (Variant.SIMPLEX, np.full(k, 0.9 / k)),
        (Variant.AFFINE, np.full(k, 1.1 / k)),
        (Variant.NONNEGATIVE, np.full(k, -0.1)),
        (Variant.FREE, np.full(k, np.nan)),
    ):
        assert relative_gaps(moments, weights[None], penalty=np.array([penalty]), variant=variant)[0] == np.inf


@modest
@given(seed=st.integers(0, 9999))
def test_a_least_squares_gap_is_exactly_the_excess_over_least_squares(seed):
    rng = np.random.default_rng(seed)
    atoms, target = rng.normal(size=(1, 4, 9)), rng.normal(size=(1, 9))
    moments = moments_of(atoms, target, variant=Variant.REFIT)
    weights = np.abs(rng.normal(size=4)) + 0.1
    weights /= weights.sum()
    ones, zero = np.ones((4, 1)), np.zeros((1, 1))
    best = np.linalg.solve(np.block([[moments.gram[0], ones], [ones.T, zero]]), np.append(np.zeros(4), 1.0))[:4]
    gap = duality_gaps(moments, weights[None], penalty=np.zeros(1), variant=Variant.REFIT)[0]
    assert gap == pytest.approx(value_of(moments, weights, 0.0) - value_of(moments, best, 0.0), rel=1e-7)
