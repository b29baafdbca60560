"""Laws of the comparison of rules on the audited tasks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from tasks.audit.gains import Evidence, View
from tasks.audit.standing import Standing, standing_of

CONFIDENCE = 0.9


def evidence(gains: np.ndarray, *, each: int = 1) -> Evidence:
    """Trials with these gains (m,), `each` of them on every reference in turn."""
    count = len(gains)
    members = tuple(frozenset({f"r{i // each}"}) for i in range(count))
    view = View(np.zeros((count, 1)), np.ones(count))
    return Evidence(view, gains, members, np.ones(count), np.full(count, 1 / each), np.ones(count, dtype=bool))


def standing(*gains: np.ndarray, each: int = 1) -> Standing:
    return standing_of({f"rule {i}": evidence(one, each=each) for i, one in enumerate(gains)}, folds=1000)


def beaten(found: Standing, rule: str, *rivals: str) -> bool:
    return found.beaten(rule, frozenset({rule, *rivals}), confidence=CONFIDENCE)


@given(seed=st.integers(0, 1000), count=st.integers(4, 30))
def test_with_one_trial_a_reference_it_is_the_paired_t_test(seed: int, count: int):
    generator = np.random.default_rng(seed)
    first = generator.standard_normal(count)
    second = first + 0.3 + generator.standard_normal(count)
    wanted = ttest_rel(second, first, alternative="greater").pvalue if second.mean() > first.mean() else 1.0
    assert standing(first, second).doubts["rule 0"]["rule 1"] == pytest.approx(wanted)


def test_of_many_rivals_that_are_no_better_one_leads_surely_no_more_often_than_doubt_allows():
    generator = np.random.default_rng(0)
    names = [f"rule {i}" for i in range(12)]
    found = [standing(*generator.standard_normal((12, 10))) for _ in range(400)]
    often = np.mean([beaten(one, *names) for one in found])
    # Rivals' leads over one rule share its noise, so the bound is not reached; two standard errors of a share.
    assert 0 < often <= (1 - CONFIDENCE) + 2 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / 400)


@given(seed=st.integers(0, 1000), count=st.integers(1, 30), rules=st.integers(1, 6))
def test_some_rule_is_never_beaten(seed: int, count: int, rules: int):
    gains = np.random.default_rng(seed).standard_normal((rules, count))
    found = standing(*gains)
    assert not beaten(found, max(found.gains, key=lambda rule: found.gains[rule]), *found.gains)


def test_a_rule_that_gains_a_little_more_on_every_task_is_surely_better_however_much_tasks_differ():
    gains = 10 * np.random.default_rng(0).standard_normal(12)
    found = standing(gains, gains + 0.01)
    assert beaten(found, "rule 0", "rule 1")
    assert not beaten(found, "rule 0")
    assert not beaten(found, "rule 1", "rule 0")


def test_many_trials_on_one_reference_are_one_witness():
    generator = np.random.default_rng(0)
    lead = np.repeat(np.array([1.0, 1.0, 1.0, -2.0]), 50) + 0.01 * generator.standard_normal(200)
    zero = np.zeros(200)
    assert beaten(standing(zero, lead), "rule 0", "rule 1")
    assert not beaten(standing(zero, lead, each=50), "rule 0", "rule 1")


def test_three_references_say_nothing_about_which_rule_is_better():
    found = standing(np.zeros(3), np.ones(3))
    assert found.gains == {"rule 0": 0.0, "rule 1": pytest.approx(1.0)}
    assert not beaten(found, "rule 0", "rule 1")


def test_a_metric_s_unit_changes_nothing():
    generator = np.random.default_rng(0)
    gains = generator.standard_normal((5, 10)) + np.arange(5)[:, None] / 4
    first, second = standing(*gains).doubts, standing(*(1e-3 * gains)).doubts
    assert all(second[rule] == pytest.approx(first[rule]) for rule in first)


def test_without_results_nobody_stands_anywhere():
    assert standing_of({"rule 0": evidence(np.zeros(0))}, folds=10).gains == {}
