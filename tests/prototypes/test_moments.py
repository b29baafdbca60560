"""Streaming statistics equal those of all samples together, whatever the batches and their order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.prototypes.batching import plan_batches
from tasks.prototypes.moments import Halves, statistics_of, with_batch


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(2, 40),
    cuts=st.lists(st.integers(1, 39), max_size=5),
    seed=st.integers(0, 2**32 - 1),
    offset=st.sampled_from([0.0, 1e4]),
)
def test_batches_in_any_order_give_the_statistics_of_the_whole(
    count: int, cuts: list[int], seed: int, offset: float
) -> None:
    rng = np.random.default_rng(seed)
    values = torch.from_numpy((rng.normal(size=(count, 3)) + offset).astype(np.float32))
    rows = torch.from_numpy(rng.permutation(count))
    halves = Halves(None, None)
    for part in torch.tensor_split(rows, sorted(cut for cut in cuts if cut < count)):
        halves = with_batch(halves, values[part], part)
    found = statistics_of(halves)
    exact = values.double().numpy()
    close = {"rtol": 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(found.prototype, exact.mean(axis=0), **close)
    np.testing.assert_allclose(found.half_a, exact[::2].mean(axis=0), **close)
    np.testing.assert_allclose(found.half_b, exact[1::2].mean(axis=0), **close)
    np.testing.assert_allclose(found.within_std, exact.std(axis=0, ddof=1), **close)
    assert found.standard_error == pytest.approx(np.sqrt(exact.var(axis=0, ddof=1).sum() / count), rel=1e-6)
    assert found.count == count


def test_the_standard_error_is_the_expected_length_of_the_error() -> None:
    rng = np.random.default_rng(0)
    scale = np.array([3.0, 1.0])
    draws = rng.normal(size=(4000, 16, 2)) * scale  # 4000 tasks of 16 samples whose true mean is zero
    lengths = np.square(draws.mean(axis=1)).sum(axis=1)
    assert np.sqrt(lengths.mean()) == pytest.approx(np.sqrt((scale**2).sum() / 16), rel=0.03)
    batch = torch.from_numpy(draws.reshape(-1, 2))
    found = statistics_of(with_batch(Halves(None, None), batch, torch.arange(len(batch))))
    assert found.standard_error == pytest.approx(np.sqrt((scale**2).sum() / len(batch)), rel=0.03)


def test_one_sample_has_no_standard_error() -> None:
    with pytest.raises(ValueError, match="at least two samples"):
        statistics_of(with_batch(Halves(None, None), torch.ones(1, 2), torch.zeros(1, dtype=torch.long)))


@settings(max_examples=100, deadline=None)
@given(lengths=st.lists(st.integers(1, 50), max_size=60), budget=st.integers(1, 200))
def test_every_sample_is_in_one_batch_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, token_budget=budget)
    assert sorted(int(row) for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget
