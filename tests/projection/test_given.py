"""Weights by formula, described like a projection."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.projection.given import given_projection


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_residual_and_coverage_are_those_of_the_weights_and_nothing_was_solved(k: int, seed: int):
    rng = np.random.default_rng(seed)
    atoms, target, centre, weights = (rng.normal(size=shape) for shape in ((k, 8), 8, 8, k))
    found = given_projection(weights, atoms, target, centre=centre)
    left = target - sum(weight * atom for weight, atom in zip(weights, atoms, strict=True))
    assert np.isclose(found.residual, np.linalg.norm(left))
    assert np.isclose(found.coverage, 1 - np.linalg.norm(left) / np.linalg.norm(target - centre))
    assert (found.penalty, found.duality_gap) == (0.0, 0.0)


def test_a_target_that_is_a_reference_is_covered_wholly_by_it():
    atoms = np.array([[1.0, 2.0], [3.0, 5.0]])
    found = given_projection(np.array([1.0, 0.0]), atoms, atoms[0], centre=atoms.mean(axis=0))
    assert (found.residual, found.coverage) == (0.0, 1.0)
