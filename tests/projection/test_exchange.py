"""Exchanging whole supports finds what the walk finds, or says that it has not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.projection import exchange
from tasks.projection.certificate import relative_gaps
from tasks.projection.exchange import exchange_weights
from tasks.projection.lockstep import lockstep_weights
from tasks.projection.moments import Moments, moments_of, scales_of
from tasks.projection.penalties import squared_residuals
from tasks.projection.variants import Variant

variants = pytest.mark.parametrize("variant", [Variant.AFFINE, Variant.FREE, Variant.SIMPLEX, Variant.NONNEGATIVE])
modest = settings(max_examples=40, deadline=None, derandomize=True)


def problems(variant: Variant, *, seed: int, k: int, d: int, count: int = 30) -> tuple[Moments, np.ndarray]:
    rng = np.random.default_rng(seed)
    atoms = rng.normal(size=(count, k, d)) + 3.0 * rng.normal(size=d)
    targets = atoms[:, :3].mean(axis=1) + 0.5 * rng.normal(size=(count, d))
    share = rng.choice([1e-3, 0.05, 0.3, 3.0], size=count)
    return moments_of(atoms, targets, variant=variant), share * d


def objectives(moments: Moments, weights: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Eq. 5 at each problem's weights (t, k)."""
    return squared_residuals(weights[:, None], moments)[:, 0] + penalty * np.abs(weights).sum(axis=1)


@variants
@modest
@given(seed=st.integers(0, 9999), k=st.integers(1, 24), d=st.integers(1, 60))
def test_what_it_settles_is_what_the_walk_ends_at(variant, seed, k, d):
    moments, penalty = problems(variant, seed=seed, k=k, d=d)
    found = exchange_weights(moments, penalty=penalty, variant=variant, allowed=None)
    gaps = relative_gaps(moments, found, penalty=penalty, variant=variant)
    walked = lockstep_weights(moments, penalty=penalty, variant=variant, allowed=None, device=None)
    if k < d:  # else the optimum may not be the only one, or no support of k atoms be independent
        assert gaps.max() <= 1e-12
        np.testing.assert_allclose(found, walked, atol=1e-6)
    known = np.isfinite(gaps)
    lost = objectives(moments, found, penalty) - objectives(moments, walked, penalty)
    assert (lost[known] <= (gaps * scales_of(moments, variant=variant))[known] + 1e-9).all()


@variants
def test_only_atoms_that_may_enter_carry_weight(variant):
    moments, penalty = problems(variant, seed=1, k=12, d=30)
    allowed = np.random.default_rng(0).uniform(size=(30, 12)) < 0.5
    allowed[:, 0] = True
    found = exchange_weights(moments, penalty=penalty, variant=variant, allowed=allowed)
    walked = lockstep_weights(moments, penalty=penalty, variant=variant, allowed=allowed, device=None)
    np.testing.assert_allclose(found, walked, atol=1e-9)
    assert not found[~allowed].any()


@variants
def test_the_bits_of_an_answer_do_not_depend_on_the_problems_beside_it(variant, monkeypatch):
    moments, penalty = problems(variant, seed=2, k=16, d=40)
    known = {"variant": variant, "allowed": None}
    together = exchange_weights(moments, penalty=penalty, **known)
    monkeypatch.setattr(exchange, "BATCH", 7)
    np.testing.assert_array_equal(exchange_weights(moments, penalty=penalty, **known), together)
    for i in range(moments.count):
        alone = exchange_weights(moments[i : i + 1], penalty=penalty[i : i + 1], **known)
        np.testing.assert_array_equal(alone[0], together[i])


@variants
def test_a_support_without_a_solution_is_left_to_the_walk(variant):
    """Copies of one atom, one of which is always part of the first guess with another."""
    moments, penalty = problems(variant, seed=3, k=6, d=20, count=4)
    copies = np.array([0, 0, 0, 1, 1, 2])
    copied = Moments(moments.gram[:, copies][:, :, copies], moments.correlations[:, copies], moments.energy)
    found = exchange_weights(copied, penalty=penalty, variant=variant, allowed=None)
    gaps = relative_gaps(copied, found, penalty=penalty, variant=variant)
    assert (~np.isfinite(found).all(axis=1) | (gaps <= 1e-9)).all()
    assert np.isnan(found).any()
