"""When a version becomes champion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.registry.promotion import Contest, decide_by_coverage, decide_by_labels

bounds = st.floats(-10, 10)


def contest(lead_low: float, *, incumbent_name: str = "base") -> Contest:
    return Contest("dice", 0.6, 0.5, incumbent_name, lead=lead_low + 0.1, lead_low=lead_low, level=0.95)


@given(bounds, bounds)
def test_a_version_is_promoted_exactly_when_it_is_surely_not_worse_than_base_and_champion(base: float, champion: float):
    verdict = decide_by_labels([contest(base), contest(champion, incumbent_name="champion")])
    assert verdict.promoted == (base >= 0 and champion >= 0)


def test_a_version_that_answers_every_sample_like_the_incumbent_is_promoted():
    assert decide_by_labels([contest(0.0)]).promoted


def test_a_refusal_names_only_the_contests_that_were_lost():
    reason = decide_by_labels([contest(0.2), contest(-0.05, incumbent_name="champion")]).reason
    assert reason == (
        "dice 0.6000 is not surely better than the champion's 0.5000: paired difference +0.0500, "
        "95% interval from -0.0500"
    )


@given(st.floats(-1, 1), st.floats(0, 1))
def test_without_labels_and_audit_coverage_must_reach_the_floor(coverage: float, floor: float):
    verdict = decide_by_coverage(coverage, floor=floor)
    assert verdict.promoted == (coverage >= floor)
    assert f"{floor:.3f}" in verdict.reason


@pytest.mark.parametrize("name", ["base", "champion"])
def test_a_promotion_names_whom_it_was_measured_against(name: str):
    assert f"the {name}'s 0.5000" in decide_by_labels([contest(0.1, incumbent_name=name)]).reason
