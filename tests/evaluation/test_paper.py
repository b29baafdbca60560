"""The published arithmetic of arXiv 2410.09908 (AAAI-26): what our code reproduces, and which rows Eq. 5 cannot give.

Weights are printed with two digits, so a printed value stands for anything within half a hundredth of it.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.projection.baselines import least_squares_weights, similarity_weights
from tasks.projection.solve import project
from tasks.projection.variants import Variant

PRINTED = 0.005 + 1e-9
# Table 2: Prostate-E over sites A, B, C, D, F.
SIM_2 = np.array([0.06, 0.31, 0.44, 0.08, 0.12])
LIN_2 = np.array([-1.13, 0.67, 0.26, 0.11, 1.09])
OURS_2 = np.array([-0.49, 0.47, 0.06, -0.03, 0.99])
# Table 4: CT abdomen over CT head, MR, X-ray.
SIM_4 = np.array([0.34, 0.33, 0.33])
LIN_4 = np.array([0.80, 0.18, 0.02])
OURS_4 = np.array([0.82, 0.18, 0.00])
# Table 6: Prostate-C with its own adapter in the pool, A to F.
OURS_6 = np.array([-0.21, -0.07, 1.10, 0.05, 0.03, 0.11])
PENALTIES = (0.001, 0.1, 1.0, 10.0, 1000.0)


def affine(atoms: np.ndarray, target: np.ndarray, penalty: float) -> np.ndarray:
    """Eq. 5 at an absolute penalty."""
    centre = atoms.mean(axis=0)
    return project(
        atoms,
        target,
        variant=Variant.AFFINE,
        relative_penalty=penalty,
        spread=1.0,
        centre=centre,
        tolerance=1e-6,
    ).weights


def test_the_toy_figures_similarity_weights_follow_from_its_distances():
    # squared distances 2, 1, 1 and lambda_1 = 1; the figure prints .16, .42, .42
    weights = similarity_weights(np.array([2.0, 1.0, 1.0]), temperature=1.0)
    np.testing.assert_allclose(weights, [0.16, 0.42, 0.42], atol=PRINTED)


@pytest.mark.parametrize(("printed", "gap"), [(SIM_2, 2.0), (SIM_4, 0.03)])
def test_a_similarity_row_fixes_the_distances_up_to_one_constant(printed, gap):
    # exp(-d^2) / sum: so d^2 = -log w + constant, and the table's extremes tell how far apart the references lie
    squared = -np.log(printed)
    weights = similarity_weights(squared - squared.min(), temperature=1.0)
    np.testing.assert_allclose(weights, printed / printed.sum(), atol=1e-12)
    assert squared.max() - squared.min() == pytest.approx(gap, abs=0.02)


def test_printed_rows_sum_to_one_as_far_as_two_digits_tell():
    for row in (SIM_2, LIN_2, OURS_2, SIM_4, LIN_4, OURS_4, OURS_6):
        assert row.sum() == pytest.approx(1.0, abs=len(row) * PRINTED)


def test_table_2_shows_shrinkage_and_no_sparsity():
    assert np.abs(LIN_2).sum() == pytest.approx(3.26)
    assert np.abs(OURS_2).sum() == pytest.approx(2.04)
    assert np.count_nonzero(OURS_2) == 5


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_a_convex_least_squares_row_is_what_eq_5_gives_at_every_penalty(seed, dimension):
    # With sum one, |w|_1 >= 1, and least squares attains both minima at once where it is non-negative.
    generator = np.random.default_rng(seed)
    atoms = generator.normal(size=(3, dimension))
    across = generator.normal(size=dimension)
    plane = np.linalg.qr((atoms[1:] - atoms[0]).T)[0]
    target = LIN_4 @ atoms + (across - plane @ (plane.T @ across))  # any target whose nearest point is that mixture
    np.testing.assert_allclose(least_squares_weights(atoms, target), LIN_4, atol=1e-7)
    for penalty in PENALTIES:
        np.testing.assert_allclose(affine(atoms, target, penalty), LIN_4, atol=1e-5)


def test_table_4_cannot_come_from_eq_5():
    # Its Lin row is convex, so by the law above Eq. 5 repeats it; its own row differs by more than printing allows.
    assert (LIN_4 >= 0).all()
    assert np.abs(OURS_4 - LIN_4).max() > 2 * PRINTED


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_a_pool_that_holds_the_target_gives_it_all_the_weight_at_every_penalty(seed):
    atoms = np.random.default_rng(seed).normal(size=(6, 8))
    for penalty in PENALTIES:
        np.testing.assert_allclose(affine(atoms, atoms[2], penalty), np.eye(6)[2], atol=1e-6)


def test_table_6_cannot_come_from_eq_5_with_the_targets_own_prototype_in_the_pool():
    # Six of six weights are not zero: the pool's prototype of site C was not the target's, or Eq. 5 was not solved.
    assert np.count_nonzero(OURS_6) == 6
    assert np.abs(OURS_6).sum() == pytest.approx(1.57)
