"""Baselines are the same path with other weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.projection.baselines import (
    base_weights,
    least_squares_weights,
    nearest_weights,
    similarity_weights,
    uniform_weights,
)
from tasks.projection.variants import Variant
from tests.projection.cases import KINDS, case_of, objective, solve


def test_nothing_nearest_and_uniform_are_what_they_say():
    np.testing.assert_array_equal(base_weights(3), [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(nearest_weights(3), [1.0, 0.0, 0.0])
    np.testing.assert_allclose(uniform_weights(4), 0.25)


def test_similarity_halves_with_every_log_two_temperatures_and_survives_huge_distances():
    weights = similarity_weights(np.array([0.0, 2.0 * np.log(2.0), 4.0 * np.log(2.0)]), temperature=2.0)
    np.testing.assert_allclose(weights, np.array([4.0, 2.0, 1.0]) / 7.0)
    np.testing.assert_allclose(similarity_weights(np.array([1e9, 1e9 + 1e6]), temperature=1.0), [1.0, 0.0])


def test_without_a_temperature_the_nearest_share_the_weight():
    np.testing.assert_array_equal(similarity_weights(np.array([1.0, 1.0, 4.0]), temperature=0.0), [0.5, 0.5, 0.0])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 9999))
def test_least_squares_is_the_affine_projection_without_a_penalty(kind, seed):
    case = case_of(kind, seed)
    weights = least_squares_weights(case.atoms, case.target)
    assert weights.sum() == pytest.approx(1.0)
    projected = solve(case, Variant.AFFINE, 0.0)
    scale = float(np.square(case.atoms.astype(float) - case.target).sum(axis=1).mean())
    # Collinear prototypes in float32 are collinear up to their rounding, which large weights can fit and least norm
    # leaves alone: moving every atom by 2^-24 of its length moves the squared residual by this much at the most.
    rounding = 2.0**-22 * np.abs(projected.weights).sum()
    assert objective(case, weights, 0.0) == pytest.approx(projected.residual**2, abs=(1e-7 + rounding) * scale)


def test_least_squares_leaves_the_rounding_of_collinear_prototypes_alone():
    case = case_of("collinear", 908)  # three on a line, in float32: an exact fit of it has weights of 330,000
    assert np.abs(least_squares_weights(case.atoms, case.target)).max() < 1.0


def test_copies_share_the_least_squares_weight_equally():
    case = case_of("duplicated", 7)
    weights = least_squares_weights(case.atoms, case.target)
    half = len(case.atoms) // 2
    np.testing.assert_allclose(weights[:half], weights[len(case.atoms) - half :], atol=1e-9)
