"""The refit variant finds the references that a target is made of, which Eq. 5 cannot."""

import numpy as np
import pytest

from tasks.projection.calibration import calibrate, drifted
from tasks.projection.duplicates import merge_duplicates
from tasks.projection.moments import moments_of
from tasks.projection.solve import project
from tasks.projection.variants import Variant


def mixture(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    atoms = rng.normal(size=(20, 100))
    weights = np.zeros(20)
    weights[rng.choice(20, size=3, replace=False)] = [0.5, 0.3, 0.2]
    return atoms, weights, weights @ atoms + 0.01 * rng.normal(size=100)


@pytest.mark.parametrize("seed", range(5))
def test_it_recovers_a_sparse_mixture_and_its_weights(seed):
    atoms, weights, target = mixture(seed)
    found = project(
        atoms,
        target,
        variant=Variant.REFIT,
        relative_penalty=0.05,
        spread=100.0,
        centre=np.zeros(100),
        tolerance=1e-8,
    )
    np.testing.assert_array_equal(found.weights != 0.0, weights != 0.0)
    np.testing.assert_allclose(found.weights, weights, atol=0.02)


def test_eq_5_keeps_more_references_than_the_target_is_made_of():
    atoms, _, target = mixture(0)
    noisy = target + 0.3 * np.random.default_rng(1).normal(size=100)
    found = {
        variant: project(
            atoms,
            noisy,
            variant=variant,
            relative_penalty=0.01,
            spread=100.0,
            centre=np.zeros(100),
            tolerance=1e-8,
        )
        for variant in (Variant.AFFINE, Variant.SIMPLEX, Variant.REFIT)
    }
    assert len(found[Variant.AFFINE].support) >= len(found[Variant.SIMPLEX].support)
    assert len(found[Variant.AFFINE].support) > len(found[Variant.REFIT].support)


def test_groups_of_copies_are_chains_and_enter_as_their_mean():
    base = np.random.default_rng(0).normal(size=(3, 10))
    step = np.full(10, 4e-4)  # neighbours in the chain are closer than the limit, its ends are not
    atoms = np.stack([base[0], base[0] + step, base[0] + 2 * step, base[1], base[2]])
    moments = moments_of(atoms[None], base.mean(axis=0)[None], variant=Variant.AFFINE)
    merged = merge_duplicates(moments, spread=float(step @ step) / 2e-6 * 1.5)
    np.testing.assert_array_equal(merged.allowed, [[True, False, False, True, True]])
    middle = moments_of(atoms[None, [1, 3, 4]], base.mean(axis=0)[None], variant=Variant.AFFINE)
    np.testing.assert_allclose(merged.moments.gram[0][np.ix_([0, 3, 4], [0, 3, 4])], middle.gram[0])
    np.testing.assert_allclose(merged.share(np.array([[0.6, 0.0, 0.0, 0.3, 0.1]])), [[0.2, 0.2, 0.2, 0.3, 0.1]])


def test_the_spread_is_the_mean_squared_distance_from_the_centre_and_drift_is_a_factor_either_way():
    prototypes = np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 3.0], [1.0, -3.0]])
    calibration = calibrate(prototypes, np.array([[3.0, 0.0], [4.0, 0.0], [0.0, 0.0], [0.0, 2.0]]))
    np.testing.assert_array_equal(calibration.centre, [1.0, 0.0])
    assert calibration.spread == pytest.approx((1.0 + 1.0 + 9.0 + 9.0) / 4.0)
    np.testing.assert_allclose(calibration.within_std, [2.5, 1.0])
    wider = calibrate(prototypes * np.sqrt(2.5), np.zeros((4, 2)))
    assert drifted(calibration, wider, factor=2.0)
    assert drifted(wider, calibration, factor=2.0)
    assert not drifted(calibration, wider, factor=3.0)
