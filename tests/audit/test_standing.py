"""Laws of the comparison of rules on the audited tasks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from tasks.audit.gains import Evidence, View
from tasks.audit.standing import standing_of

CONFIDENCE = 0.9


def evidence(gains: np.ndarray, *, each: int = 1) -> Evidence:
    """Trials with these gains (m,), `each` of them on every reference in turn."""
    count = len(gains)
    members = tuple(frozenset({f"r{i // each}"}) for i in range(count))
    view = View(np.zeros((count, 1)), np.ones(count))
    return Evidence(view, gains, members, np.ones(count), np.full(count, 1 / each), np.ones(count, dtype=bool))


def standing(*gains: np.ndarray, each: int = 1, confidence: float = CONFIDENCE):
    known = {f"rule {i}": evidence(one, each=each) for i, one in enumerate(gains)}
    return standing_of(known, folds=1000, confidence=confidence)


@given(seed=st.integers(0, 1000), count=st.integers(4, 30))
def test_with_one_trial_a_reference_it_is_the_paired_t_test(seed: int, count: int):
    generator = np.random.default_rng(seed)
    first = generator.standard_normal(count)
    second = first + 0.3 + generator.standard_normal(count)
    p = ttest_rel(second, first, alternative="greater").pvalue
    for confidence, surely in ((1 - p - 1e-6, True), (1 - p + 1e-6, False)):
        if 0.5 < confidence < 1:
            found = standing(first, second, confidence=confidence)
            assert found.beaten("rule 0", frozenset({"rule 1"})) == surely


@given(seed=st.integers(0, 1000), count=st.integers(1, 30), rules=st.integers(1, 6))
def test_some_rule_is_never_beaten(seed: int, count: int, rules: int):
    gains = np.random.default_rng(seed).standard_normal((rules, count))
    found = standing(*gains)
    everything = frozenset(found.gains)
    assert not found.beaten(max(found.gains, key=lambda rule: found.gains[rule]), everything)


def test_a_rule_that_gains_a_little_more_on_every_task_is_surely_better_however_much_tasks_differ():
    gains = 10 * np.random.default_rng(0).standard_normal(12)
    found = standing(gains, gains + 0.01)
    assert found.beaten("rule 0", frozenset({"rule 1"}))
    assert not found.beaten("rule 0", frozenset({"rule 0"}))
    assert not found.beaten("rule 1", frozenset({"rule 0"}))


def test_many_trials_on_one_reference_are_one_witness():
    generator = np.random.default_rng(0)
    lead = np.repeat(np.array([1.0, 1.0, 1.0, -2.0]), 50) + 0.01 * generator.standard_normal(200)
    zero = np.zeros(200)
    assert standing(zero, lead).beaten("rule 0", frozenset({"rule 1"}))
    assert not standing(zero, lead, each=50).beaten("rule 0", frozenset({"rule 1"}))


def test_three_references_say_nothing_about_which_rule_is_better():
    found = standing(np.zeros(3), np.ones(3))
    assert found.gains == {"rule 0": 0.0, "rule 1": pytest.approx(1.0)}
    assert not found.beaten("rule 0", frozenset({"rule 1"}))


def test_a_metric_s_unit_changes_nothing():
    generator = np.random.default_rng(0)
    gains = generator.standard_normal((5, 10)) + np.arange(5)[:, None] / 4
    assert standing(*gains).better == standing(*(1e-3 * gains)).better


def test_without_results_nobody_stands_anywhere():
    empty = evidence(np.zeros(0))
    assert standing_of({"rule 0": empty}, folds=10, confidence=CONFIDENCE).gains == {}
