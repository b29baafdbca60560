"""A path holds every solution: at any penalty it gives what solving at that penalty gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.projection.lockstep import lockstep_weights
from tasks.projection.moments import Moments, moments_of
from tasks.projection.path import largest_penalties, paths
from tasks.projection.penalties import (
    by_bic,
    by_count,
    by_split_half,
    penalty_grid,
    squared_residuals,
    support_agreement,
)
from tasks.projection.variants import Variant

WITH_A_PATH = [Variant.AFFINE, Variant.FREE, Variant.NONNEGATIVE]
modest = settings(max_examples=15, deadline=None, derandomize=True)


def problems(seed: int, variant: Variant) -> Moments:
    rng = np.random.default_rng(seed)
    k, d = int(rng.integers(1, 12)), 20
    atoms = rng.normal(size=(6, k, d)) + rng.choice([0.0, 3.0])
    targets = rng.normal(size=(6, d)) * rng.choice([0.2, 1.0]) + atoms[:, : (k + 1) // 2].mean(axis=1)
    return moments_of(atoms, targets, variant=variant)


@pytest.mark.parametrize("variant", WITH_A_PATH)
@modest
@given(seed=st.integers(0, 9999))
def test_the_path_meets_the_solution_at_every_penalty(variant, seed):
    moments = problems(seed, variant)
    highest = largest_penalties(moments, variant=variant)
    found = paths(moments, ends=1e-3 * highest, variant=variant, allowed=None)
    grid = penalty_grid(highest * 2.0, lowest_share=0.6e-3, count=30)
    along = found.at(grid)
    for n in range(30):
        alone = lockstep_weights(moments, penalty=grid[:, n], variant=variant, allowed=None)
        np.testing.assert_allclose(along[:, n], alone, atol=1e-7)


@pytest.mark.parametrize("variant", WITH_A_PATH)
@modest
@given(seed=st.integers(0, 9999))
def test_the_path_begins_at_the_largest_penalty_that_changes_anything(variant, seed):
    moments = problems(seed, variant)
    highest = largest_penalties(moments, variant=variant)
    found = paths(moments, ends=1e-3 * highest, variant=variant, allowed=None)
    for target in range(moments.count):
        penalties, _ = found[target]
        assert penalties[0] == pytest.approx(highest[target], rel=1e-9)
        assert (np.diff(penalties) <= 0.0).all()


@modest
@given(seed=st.integers(0, 9999))
def test_above_lambda_bar_the_affine_weights_are_the_simplex_projection_and_just_below_one_is_negative(seed):
    moments = problems(seed, Variant.AFFINE)
    bar = largest_penalties(moments, variant=Variant.AFFINE)
    nothing = np.zeros(moments.count)
    simplex = lockstep_weights(moments, penalty=nothing, variant=Variant.SIMPLEX, allowed=None)
    above, below = (
        lockstep_weights(moments, penalty=share * bar, variant=Variant.AFFINE, allowed=None)
        for share in (1.0 + 1e-6, 0.99)
    )
    np.testing.assert_allclose(above, simplex, atol=1e-9)
    assert (below[bar > 1e-9].min(axis=1) < 0.0).all()


def test_bic_prefers_few_references_when_they_explain_the_target():
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(4, 10, 200))
    targets = atoms[:, :3].mean(axis=1)
    targets = targets + 0.02 * rng.normal(size=targets.shape)
    moments = moments_of(atoms, targets, variant=Variant.FREE)
    highest = largest_penalties(moments, variant=Variant.FREE)
    found = paths(moments, ends=1e-4 * highest, variant=Variant.FREE, allowed=None)
    grid = penalty_grid(highest, lowest_share=1e-4, count=60)
    chosen = by_bic(found, moments, grid, dimension=200, scale=moments.energy)
    support = found.at(chosen[:, None])[:, 0] != 0.0
    assert support[:, :3].all()
    assert support[:, 3:].mean() < 0.5  # shrunken weights need companions: refitting is what finds the three alone


def test_split_halves_choose_more_penalty_when_prototypes_are_noisier():
    rng = np.random.default_rng(1)
    atoms = rng.normal(size=(20, 8, 30))
    targets = np.einsum("tk,tkd->td", rng.dirichlet(np.ones(8), size=20), atoms)
    chosen = []
    for noise in (0.01, 1.0):
        halves = [
            moments_of(
                atoms + noise * rng.normal(size=atoms.shape),
                targets + noise * rng.normal(size=targets.shape),
                variant=Variant.FREE,
            )
            for _ in range(2)
        ]
        highest = largest_penalties(halves[0], variant=Variant.FREE)
        found = paths(halves[0], ends=1e-4 * highest, variant=Variant.FREE, allowed=None)
        grid = penalty_grid(highest, lowest_share=1e-4, count=40)
        chosen.append(np.median(by_split_half(found, halves[1], grid, slack=0.0) / highest))
    assert chosen[1] > 10.0 * chosen[0]


@pytest.mark.parametrize("most", [1, 3, 5])
def test_at_most_m_references_are_used_down_to_the_penalty_chosen_and_more_below(most):
    moments = problems(4, Variant.FREE)
    highest = largest_penalties(moments, variant=Variant.FREE)
    chosen = by_count(paths(moments, ends=1e-4 * highest, variant=Variant.FREE, allowed=None), most=most)
    known = {"variant": Variant.FREE, "allowed": None}
    for penalty in (chosen, 1.5 * chosen):
        assert ((lockstep_weights(moments, penalty=penalty, **known) != 0.0).sum(axis=1) <= most).all()
    below = (lockstep_weights(moments, penalty=0.999 * chosen, **known) != 0.0).sum(axis=1)
    assert ((below > most) | (chosen <= 1.001e-4 * highest)).all()


def test_residuals_from_moments_are_those_of_the_prototypes():
    rng = np.random.default_rng(2)
    atoms, targets, weights = rng.normal(size=(3, 4, 9)), rng.normal(size=(3, 9)), rng.normal(size=(3, 5, 4))
    for variant in (Variant.FREE, Variant.AFFINE):
        if variant.sums_to_one:
            weights = weights / weights.sum(axis=2, keepdims=True)
        direct = np.square(targets[:, None] - weights @ atoms).sum(axis=2)
        np.testing.assert_allclose(squared_residuals(weights, moments_of(atoms, targets, variant=variant)), direct)


def test_agreement_is_the_share_of_references_that_both_halves_use():
    a = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    b = np.array([[0.5, 0.0, 0.5], [0.0, 0.0, 0.0], [0.0, 0.3, 0.7]])
    np.testing.assert_allclose(support_agreement(a, b), [1 / 3, 1.0, 0.0])


def test_the_simplex_has_no_path():
    with pytest.raises(ValueError, match="simplex"):
        paths(problems(0, Variant.SIMPLEX), ends=np.ones(6), variant=Variant.SIMPLEX, allowed=None)
