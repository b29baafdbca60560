"""Bootstrap intervals: what they promise, on data whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tasks.evaluation.intervals import mean_intervals, paired_interval

HOW = {"resamples": 400, "level": 0.95, "seed": 0}


def test_intervals_hold_the_true_mean_as_often_as_their_level_says():
    # 400 experiments with a known mean; the number that is covered is binomial, and 99.9 % of its mass is allowed.
    generator = np.random.default_rng(0)
    samples = generator.exponential(size=(400, 100))
    intervals = [mean_intervals(row[None], **{**HOW, "seed": i})[0] for i, row in enumerate(samples)]
    covered = sum(interval.low <= 1.0 <= interval.high for interval in intervals)
    # an exponential is skewed: at n = 100 the percentile interval is known to cover a point or two less
    low, high = stats.binom(400, 0.93).ppf(0.0005), stats.binom(400, 0.95).ppf(0.9995)
    assert low <= covered <= high


def test_the_width_is_that_of_the_normal_approximation_for_many_samples():
    values = np.random.default_rng(1).normal(size=2000)
    found = mean_intervals(values[None], resamples=4000, level=0.95, seed=0)[0]
    expected = 2 * stats.norm.ppf(0.975) * values.std() / np.sqrt(2000)
    assert found.high - found.low == pytest.approx(expected, rel=0.05)


def test_scipy_finds_the_same_interval():
    values = np.random.default_rng(2).random(60)
    ours = mean_intervals(values[None], resamples=5000, level=0.9, seed=0)[0]
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=5000, confidence_level=0.9, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    # two independent sets of 5000 resamples: each bound has a standard error of about 2 % of the width
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.1 * (theirs.high - theirs.low))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.integers(0, 9))
def test_the_interval_lies_between_the_smallest_and_the_largest_sample(values, seed):
    found = mean_intervals(np.array([values]), resamples=50, level=0.95, seed=seed)[0]
    slack = 1e-9
    assert min(values) - slack <= found.low <= found.high <= max(values) + slack


def test_methods_on_one_set_of_samples_share_the_resamples():
    values = np.random.default_rng(3).random(40)
    first, second = mean_intervals(np.stack([values, values + 1.0]), **HOW)
    assert second.low - first.low == pytest.approx(1.0)
    assert second.high - first.high == pytest.approx(1.0)


def test_a_paired_difference_is_certain_where_each_mean_is_not():
    generator = np.random.default_rng(4)
    difficulty = generator.normal(size=200)
    better, worse = difficulty + 0.1, difficulty + generator.normal(scale=0.01, size=200)
    found = paired_interval(better, worse, **HOW)
    assert found.low > 0.05
    single = mean_intervals(worse[None], **HOW)[0]
    assert single.high - single.low > 10 * (found.high - found.low)


def test_swapping_the_methods_mirrors_the_interval():
    generator = np.random.default_rng(5)
    first, second = generator.random(50), generator.random(50)
    there, back = paired_interval(first, second, **HOW), paired_interval(second, first, **HOW)
    assert (there.low, there.value, there.high) == pytest.approx((-back.high, -back.value, -back.low))


def test_many_samples_are_resampled_in_chunks_to_the_same_effect(monkeypatch: pytest.MonkeyPatch):
    values = np.random.default_rng(6).random((2, 50))
    whole = mean_intervals(values, **HOW)
    monkeypatch.setattr("tasks.evaluation.intervals._CELLS", 50 * 7)
    assert mean_intervals(values, **HOW) == whole


def test_values_that_cannot_be_averaged_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        mean_intervals(np.array([[1.0, np.nan]]), **HOW)
    with pytest.raises(ValueError, match="at least one sample"):
        mean_intervals(np.zeros((2, 0)), **HOW)
    with pytest.raises(ValueError, match="same samples"):
        paired_interval(np.zeros(3), np.zeros(4), **HOW)
