"""What an audit says about a library, on small tables whose answer is plain."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.audit.findings import (
    Pair,
    clusters_drawn,
    correlation,
    greedy_cover,
    harmful,
    near_but_opposed,
    recovered_share,
    verdict,
)


def pair(source: str, on: str, *, distance: float, transfer: float) -> Pair:
    return Pair(source, on, distance, cosine=0.0, transfer=transfer, ceiling=1.0)


def test_a_perfect_order_has_correlation_one_and_its_interval_says_so():
    pairs = [pair("a", f"r{i}", distance=i, transfer=-i) for i in range(12)]
    found = correlation(pairs, range(12), range(12), resamples=200, level=0.9, seed=0)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))


def test_two_pairs_have_no_correlation_at_all():
    pairs = [pair("a", "b", distance=1, transfer=1)] * 2
    assert np.isnan(correlation(pairs, [1, 2], [1, 2], resamples=20, level=0.9, seed=0).value)


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_pairs_on_one_reference_are_drawn_together_and_as_many_references_as_there_are(labels: list[str], seed: int):
    sizes = Counter(labels)
    for taken in clusters_drawn(labels, 5, np.random.default_rng(seed)):
        times = Counter(taken.tolist())
        drawn = {label: {times[row] for row, one in enumerate(labels) if one == label} for label in sizes}
        assert all(len(counts) == 1 for counts in drawn.values())
        assert sum(next(iter(counts)) for counts in drawn.values()) == len(sizes)


def test_nothing_is_drawn_from_nobody():
    assert list(clusters_drawn([], 5, np.random.default_rng(0))) == []


def test_siblings_are_near_and_harm_each_other():
    sibling = pair("cytoplasm", "nucleus", distance=0.01, transfer=-0.5)
    others = [pair("a", "nucleus", distance=2.0, transfer=-0.5), pair("b", "nucleus", distance=0.01, transfer=0.5)]
    assert near_but_opposed([sibling, *others], within=0.5) == [sibling]


def test_a_reference_is_harmful_only_if_it_helps_nobody():
    pairs = [pair("bad", on, distance=1, transfer=-0.1) for on in "ab"]
    pairs += [pair("mixed", "a", distance=1, transfer=-0.3), pair("mixed", "b", distance=1, transfer=0.1)]
    assert harmful(pairs, least=2) == {"bad": pytest.approx(-0.1)}
    assert harmful(pairs, least=3) == {}


def test_the_cover_takes_first_who_serves_most_and_counts_nobody_twice():
    pairs = [pair("a", on, distance=1, transfer=0.9) for on in "bc"] + [pair("b", "a", distance=1, transfer=0.5)]
    chosen = greedy_cover(pairs, dict.fromkeys("abcd", 1.0), most=2)
    assert chosen == [("a", pytest.approx(2.8 / 4)), ("d", pytest.approx(3.8 / 4))]


def test_the_own_adapter_recovers_all_and_the_base_nothing():
    base, own = np.zeros(50), np.tile([1.0, 0.0], 25)
    how = {"resamples": 100, "level": 0.9, "seed": 0}
    for chosen, share in ((own, 1.0), (base, 0.0)):
        found = recovered_share("r", chosen, own, base, **how)
        assert found is not None
        assert (found.value, found.low, found.high) == pytest.approx((share, share, share))
    assert recovered_share("r", own, base, base, **how) is None


def test_one_lucky_reference_among_many_does_not_make_a_library_transfer():
    # The mean of one value g among n - 1 zeros is g / n, its standard error g / n too: Student's t is one.
    found = verdict([0.5, *[None] * 19], confidence=0.9)
    assert not found.transfers
    assert (found.served, found.audited, found.gain) == (1, 20, 0.025)
    assert verdict([0.5, 0.4, 0.6, None], confidence=0.9).transfers


def test_a_library_whose_choices_all_harm_or_that_is_left_alone_does_not_transfer():
    assert not verdict([-0.2, -0.3, -0.1], confidence=0.9).transfers
    assert verdict([None] * 5, confidence=0.9).low == 0.0
    assert not verdict([None] * 5, confidence=0.9).transfers


def test_two_references_are_too_few_for_a_verdict():
    found = verdict([0.5, 0.6], confidence=0.9)
    assert not found.transfers
    assert "at least 3" in found.says
