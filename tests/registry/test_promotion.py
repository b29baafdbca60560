"""When a version becomes champion."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.registry.promotion import Contest, decide_by_coverage, decide_by_labels

scores = st.floats(-1e6, 1e6)


def contest(challenger: float, incumbent: float, *, higher: bool) -> Contest:
    return Contest("dice", higher, challenger, incumbent, "base")


@given(scores, scores, st.booleans())
def test_a_version_is_promoted_exactly_when_its_metric_is_not_worse(own: float, other: float, higher: bool):
    promoted = decide_by_labels(contest(own, other, higher=higher)).promoted
    assert promoted == (own >= other if higher else own <= other)


@given(scores, st.booleans())
def test_a_tie_is_not_worse(score: float, higher: bool):
    assert decide_by_labels(contest(score, score, higher=higher)).promoted


def test_the_reason_names_the_metric_both_values_and_the_incumbent():
    reason = decide_by_labels(contest(0.25, 0.5, higher=True)).reason
    assert reason == "dice 0.2500 is worse than the base's 0.5000 on the same samples"


@given(st.floats(-1, 1), st.floats(0, 1))
def test_without_labels_coverage_must_reach_the_floor(coverage: float, floor: float):
    decision = decide_by_coverage(coverage, floor=floor)
    assert decision.promoted == (coverage >= floor)
    assert f"{floor:.3f}" in decision.reason
