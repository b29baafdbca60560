"""Users' bounds and group limits hold exactly, and the answer under them is certified too."""

import numpy as np
import pytest

from tasks.projection.constrained import Constraints, project_constrained
from tasks.projection.lockstep import lockstep_weights
from tasks.projection.moments import Moments, moments_of
from tasks.projection.projection import NotCertified
from tasks.projection.variants import Variant

SOLVED = [Variant.AFFINE, Variant.FREE, Variant.NONNEGATIVE, Variant.SIMPLEX]


def problem(seed: int, variant: Variant) -> Moments:
    rng = np.random.default_rng(seed)
    atoms = rng.normal(size=(1, 6, 20))
    target = np.array([0.8, 0.5, -0.4, 0.1, 0.0, 0.0]) @ atoms[0] + 0.1 * rng.normal(size=20)
    return moments_of(atoms, target[None], variant=variant)


def constraints(*, bound: float, most: float | None = None) -> Constraints:
    members = np.array([[True, True, False, False, False, False]]) if most is not None else np.empty((0, 6), dtype=bool)
    return Constraints(np.full(6, -bound), np.full(6, bound), members, np.array([most] if most is not None else []))


@pytest.mark.parametrize("variant", SOLVED)
@pytest.mark.parametrize("seed", range(4))
def test_constraints_that_do_not_bind_change_nothing(variant, seed):
    moments = problem(seed, variant)
    free = lockstep_weights(moments, penalty=np.array([0.5]), variant=variant, allowed=None)[0]
    weights, gap = project_constrained(
        moments, constraints(bound=50.0, most=40.0), penalty=0.5, variant=variant, tolerance=1e-7
    )
    np.testing.assert_allclose(weights, free, atol=1e-5)
    np.testing.assert_array_equal(weights != 0.0, free != 0.0)
    assert gap <= 1e-7


@pytest.mark.parametrize("variant", SOLVED)
@pytest.mark.parametrize("seed", range(4))
def test_binding_bounds_and_group_limits_hold_and_are_certified(variant, seed):
    weights, gap = project_constrained(
        problem(seed, variant), constraints(bound=0.45, most=0.6), penalty=0.1, variant=variant, tolerance=1e-7
    )
    assert np.abs(weights).max() <= 0.45
    assert weights[:2].sum() <= 0.6 + 1e-9
    assert gap <= 1e-7
    if variant.sums_to_one:
        assert weights.sum() == pytest.approx(1.0, abs=1e-9)


def test_constraints_that_contradict_each_other_are_an_error_with_a_remedy():
    with pytest.raises(NotCertified, match="widen the bounds"):
        project_constrained(
            problem(0, Variant.AFFINE), constraints(bound=0.1), penalty=0.1, variant=Variant.AFFINE, tolerance=1e-7
        )
