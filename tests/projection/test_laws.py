"""The laws that hold for every variant and every kind of library, awkward ones included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.projection.variants import Variant
from tests.projection.cases import KINDS, SUM_ONE, VARIANTS, Case, case_of, objective, solve

seeds = st.integers(0, 10_000)
penalties = st.sampled_from([0.0, 1e-4, 0.03, 0.1, 1.0, 30.0])
kinds = st.sampled_from(KINDS)
distinct = st.sampled_from([kind for kind in KINDS if kind not in ("duplicated", "more atoms than dimensions")])
modest = settings(max_examples=60, deadline=None, derandomize=True)


def moved(case: Case, shift: np.ndarray, scale: float) -> Case:
    atoms = scale * (case.atoms.astype(np.float64) + shift)
    target = scale * (case.target.astype(np.float64) + shift)
    return Case(atoms, target, case.spread * scale**2, scale * (case.centre + shift))


@pytest.mark.parametrize("variant", VARIANTS)
@modest
@given(kind=kinds, seed=seeds, penalty=penalties)
def test_every_answer_is_certified_to_a_millionth_of_a_percent(variant, kind, seed, penalty):
    projection = solve(case_of(kind, seed), variant, penalty)
    assert 0.0 <= projection.duality_gap <= 1e-8


@pytest.mark.parametrize("variant", VARIANTS)
@modest
@given(kind=kinds, seed=seeds, penalty=penalties)
def test_reordering_the_library_permutes_the_weights_and_changes_nothing_else(variant, kind, seed, penalty):
    case = case_of(kind, seed)
    order = np.random.default_rng(seed).permutation(len(case.atoms))
    there = solve(Case(case.atoms[order], case.target, case.spread, case.centre), variant, penalty)
    here = solve(case, variant, penalty)
    size = float(np.square(case.atoms - case.target).sum(axis=1).mean())
    assert objective(case, here.weights, here.penalty) == pytest.approx(
        objective(Case(case.atoms[order], case.target, 0.0, case.centre), there.weights, there.penalty), abs=1e-7 * size
    )
    unique = kind not in ("more atoms than dimensions", "collinear")  # elsewhere several answers are equally good
    if unique and penalty > 0.0:
        np.testing.assert_allclose(there.weights, here.weights[order], atol=1e-5)


@pytest.mark.parametrize("variant", SUM_ONE)
@modest
@given(kind=distinct, seed=seeds, penalty=st.sampled_from([0.03, 0.1, 1.0]))
def test_moving_every_prototype_by_the_same_vector_changes_nothing(variant, kind, seed, penalty):
    case = case_of(kind, seed)
    shift = np.random.default_rng(seed).normal(size=len(case.target)) * 30.0
    here, there = solve(case, variant, penalty), solve(moved(case, shift, 1.0), variant, penalty)
    if kind != "collinear":
        np.testing.assert_allclose(there.weights, here.weights, atol=1e-6)
    assert there.residual == pytest.approx(here.residual, rel=1e-6, abs=1e-9 * np.sqrt(case.spread))
    assert there.coverage == pytest.approx(here.coverage, abs=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
@modest
@given(kind=distinct, seed=seeds, penalty=st.sampled_from([0.03, 0.1, 1.0]), scale=st.sampled_from([1e-3, 7.0, 1e4]))
def test_scaling_prototypes_by_c_and_the_penalty_by_c_squared_changes_nothing(variant, kind, seed, penalty, scale):
    case = case_of(kind, seed)
    here, there = solve(case, variant, penalty), solve(moved(case, np.zeros(1), scale), variant, penalty)
    assert there.penalty == pytest.approx(here.penalty * scale**2)
    assert there.residual == pytest.approx(here.residual * scale, rel=1e-6, abs=1e-8 * scale * np.sqrt(case.spread))
    if kind != "collinear":
        np.testing.assert_allclose(there.weights, here.weights, atol=1e-6)


@pytest.mark.parametrize("variant", [Variant.AFFINE, Variant.SIMPLEX, Variant.REFIT])
@modest
@given(kind=kinds, seed=seeds)
def test_a_target_equal_to_a_library_prototype_gets_weight_one_there(variant, kind, seed):
    case = case_of(kind, seed)
    twin = seed % len(case.atoms)
    copies = np.square(case.atoms - case.atoms[twin]).sum(axis=1) == 0.0
    projection = solve(Case(case.atoms, case.atoms[twin], case.spread, case.centre), variant, 1e-3)
    assert projection.residual <= 1e-7 * np.sqrt(case.spread)
    assert projection.weights[copies].sum() == pytest.approx(1.0, abs=1e-9)
    assert not projection.weights[~copies].any()


@modest
@given(seed=seeds)
def test_without_a_sum_constraint_such_a_target_is_reached_as_the_penalty_vanishes(seed):
    case = case_of("random", seed)
    twin = seed % len(case.atoms)
    for variant in (Variant.FREE, Variant.NONNEGATIVE):
        projection = solve(Case(case.atoms, case.atoms[twin], case.spread, case.centre), variant, 1e-9)
        assert projection.weights[twin] == pytest.approx(1.0, abs=1e-4)


@modest
@given(kind=kinds, seed=seeds)
def test_on_the_simplex_the_penalty_has_no_effect(kind, seed):
    case = case_of(kind, seed)
    np.testing.assert_array_equal(solve(case, Variant.SIMPLEX, 0.0).weights, solve(case, Variant.SIMPLEX, 10.0).weights)


@modest
@given(kind=distinct, seed=seeds)
def test_affine_at_a_large_penalty_is_the_simplex_and_less_of_it_only_adds_negative_mass(kind, seed):
    case = case_of(kind, seed)
    simplex = solve(case, Variant.SIMPLEX, 0.0)
    inert = solve(case, Variant.AFFINE, 1e6)
    assert np.abs(inert.weights).sum() == pytest.approx(1.0)
    assert inert.residual == pytest.approx(simplex.residual, abs=1e-6 * np.sqrt(case.spread))
    masses = [np.abs(solve(case, Variant.AFFINE, f).weights).sum() for f in (1.0, 0.1, 0.01, 1e-3)]
    assert all(later >= earlier - 1e-7 for earlier, later in zip([1.0, *masses], masses, strict=False))


@pytest.mark.parametrize("variant", VARIANTS)
@modest
@given(kind=kinds, seed=seeds, penalty=penalties)
def test_weights_keep_their_constraints_exactly(variant, kind, seed, penalty):
    weights = solve(case_of(kind, seed), variant, penalty).weights
    if variant.sums_to_one:
        assert weights.sum() == pytest.approx(1.0, abs=1e-12 * np.abs(weights).sum())
    if not variant.signed:
        assert (weights >= 0.0).all()


@pytest.mark.parametrize("variant", VARIANTS)
@modest
@given(seed=seeds, penalty=penalties)
def test_copies_of_one_prototype_share_its_weight_equally(variant, seed, penalty):
    case = case_of("duplicated", seed)
    k = len(case.atoms)
    weights = solve(case, variant, penalty).weights
    np.testing.assert_array_equal(weights[: k // 2], weights[k - k // 2 :])
