"""Laws of the gain model and of the choice."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from tasks.audit.choice import Policy, backtest, choose, choose_rules
from tasks.audit.gains import (
    Evidence,
    Expectation,
    View,
    bound,
    expect,
    fit_gains,
    held_out,
    learn,
    leverages,
    predicted,
)
from tasks.audit.rules import BASE, Weighing, audited_rules
from tasks.audit.standing import Standing
from tasks.projection.preparation import Preparation

RULES = audited_rules(penalties=(0.03, 0.3), temperatures=(0.25,), preparations=(Preparation.RAW,))
POLICY = Policy(shrinkage=0.01, folds=10, confidence=0.8, margin=1.5, least=3.0, floor=0.0, tie=0.01)


def evidence(seed: int, count: int, *, noise: float) -> Evidence:
    generator = np.random.default_rng(seed)
    features = generator.uniform(size=(count, 2))
    gains = features @ [0.5, -0.2] + noise * generator.standard_normal(count)
    members = tuple(frozenset({f"r{i}"}) for i in range(count))
    return Evidence(near(features), gains, members, np.ones(count), np.ones(count), np.ones(count, dtype=bool))


def near(features: np.ndarray) -> View:
    """Tasks (t, f) whose nearest references are all at distance 1."""
    return View(features, np.ones(len(features)))


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_without_noise_and_shrinkage_the_fit_is_the_truth(seed: int):
    known = evidence(seed, 12, noise=0.0)
    fit = fit_gains(known, shrinkage=1e-9)
    assert predicted(fit, known.view.features) == pytest.approx(known.gains, abs=1e-6)


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_the_fit_is_scikit_learn_s_ridge_on_standardised_features(seed: int):
    known = replace(evidence(seed, 12, noise=0.1), shares=np.random.default_rng(seed).uniform(0.1, 1.0, 12))
    fit = fit_gains(known, shrinkage=0.1)
    ridge = Ridge(alpha=0.1 * known.shares.sum())
    ridge.fit((known.view.features - fit.means) / fit.scales, known.gains, sample_weight=known.shares)
    assert fit.coefficients == pytest.approx(ridge.coef_)
    assert fit.intercept == pytest.approx(ridge.intercept_)


@given(seed=st.integers(0, 1000), factor=st.floats(0.01, 100))
@settings(max_examples=10, deadline=None)
def test_the_unit_of_a_feature_changes_nothing(seed: int, factor: float):
    known = evidence(seed, 12, noise=0.1)
    scaled = replace(known, view=near(known.view.features * factor))
    first, second = fit_gains(known, shrinkage=0.1), fit_gains(scaled, shrinkage=0.1)
    assert predicted(first, known.view.features) == pytest.approx(predicted(second, scaled.view.features))
    assert leverages(first, known.view.features) == pytest.approx(leverages(second, scaled.view.features))


def test_no_reference_helps_to_judge_itself():
    known = evidence(0, 12, noise=0.1)
    members = tuple(frozenset({f"r{i}", f"r{(i + 1) % 12}"}) for i in range(12))
    pooled = replace(known, members=members)
    before = held_out(pooled, shrinkage=0.1, folds=12)
    gains = known.gains.copy()
    gains[[2, 3, 4]] += 100.0  # trial 3 and the two that share a reference with it
    after = held_out(replace(pooled, gains=gains), shrinkage=0.1, folds=12)
    assert after[3] == before[3]
    assert after[9] != before[9]


@given(seed=st.integers(0, 1000), count=st.integers(5, 40))
@settings(max_examples=20, deadline=None)
def test_the_bound_covers_its_share_of_the_errors(seed: int, count: int):
    errors = np.random.default_rng(seed).standard_normal(count)
    limit = bound(errors, np.ones(count), witnesses=count, confidence=0.8)
    assert np.mean(errors <= limit) >= 0.8


def test_few_witnesses_give_no_finite_bound():
    # One minus confidence must be at least 1 / (n + 1): three references cannot promise four fifths, four can.
    assert bound(np.zeros(3), np.ones(3), witnesses=3, confidence=0.8) == np.inf
    assert bound(np.zeros(4), np.ones(4), witnesses=4, confidence=0.8) == 0.0


def test_the_worst_gain_is_surpassed_on_new_tasks_as_often_as_promised():
    kept = []
    for seed in range(40):
        model = learn(evidence(seed, 40, noise=0.2), shrinkage=0.01, folds=10, confidence=0.8)
        new = evidence(1000 + seed, 20, noise=0.2)
        kept += [g >= e.worst for g, e in zip(new.gains, expect(model, new.view, margin=9.0), strict=True)]
    assert np.mean(kept) >= 0.78


def test_the_true_expectation_lies_above_its_bound_as_often_as_promised():
    kept = []
    for seed in range(100):
        model = learn(evidence(seed, 12, noise=0.2), shrinkage=1e-6, folds=10, confidence=0.8)
        kept.append(expect(model, near(np.array([[0.6, 0.4]])), margin=9.0)[0].low <= 0.6 * 0.5 - 0.4 * 0.2)
    assert np.mean(kept) >= 0.8 - 2 * np.sqrt(0.8 * 0.2 / 100)


def test_a_task_that_looks_worse_than_every_trial_is_unseen_and_has_no_bound():
    model = learn(evidence(0, 20, noise=0.1), shrinkage=0.01, folds=10, confidence=0.8)
    close, far = expect(model, near(np.array([[0.5, 0.5], [-9.0, 9.0]])), margin=1.5)
    assert close.seen
    assert not far.seen
    assert far.low == -np.inf


def test_a_task_that_looks_better_than_every_trial_is_sure_of_what_the_best_show_and_of_no_more():
    known = evidence(0, 20, noise=0.1)  # gains rise with the first feature and fall with the second
    model = learn(known, shrinkage=0.01, folds=10, confidence=0.8)
    best = [known.view.features[:, 0].max(), known.view.features[:, 1].min()]
    edge, beyond = expect(model, near(np.array([best, [9.0, -9.0]])), margin=9.0)
    assert beyond.seen
    assert beyond.low == pytest.approx(edge.low)
    assert beyond.worst == pytest.approx(edge.worst)
    assert beyond.gain > edge.gain
    assert beyond.near < 1e-6 < edge.near


def test_a_task_that_looks_familiar_but_lies_far_from_every_reference_is_unseen():
    known = evidence(0, 20, noise=0.1)
    known = replace(known, view=replace(known.view, distances=np.linspace(0.1, 2.0, 20)))
    model = learn(known, shrinkage=0.01, folds=10, confidence=0.8)
    familiar = np.array([[0.5, 0.5]])
    # The farthest trial lies at 2: its square is 4, and 1.5 times that is 6.
    inside, edge = (expect(model, View(familiar, np.array([d])), margin=1.5)[0] for d in (6**0.5 - 1e-9, 6**0.5 + 1e-9))
    assert inside.seen
    assert not edge.seen
    assert edge.low == -np.inf


def certain(low: float) -> Expectation:
    return Expectation(low + 0.1, low, low + 0.2, low - 0.1, True, 9.0)


def level(*rules: str) -> Standing:
    """No rule gains more than another."""
    return Standing(dict.fromkeys(rules, 0.3), {rule: dict.fromkeys(rules, 1.0) for rule in rules})


def test_among_equals_the_safer_rule_is_chosen():
    found = {rule.name: certain(0.2) for rule in RULES if rule != BASE}
    standing = level(*found)
    assert choose(RULES, found, standing, POLICY, unit=1.0).rule.weighing is Weighing.SIMPLEX
    assert choose(RULES, {**found, "l1 0.03": certain(0.23)}, standing, POLICY, unit=1.0).rule.name == "l1 0.03"
    nearly = {**found, "l1 0.03": certain(0.21)}
    assert choose(RULES, nearly, standing, POLICY, unit=1.0).rule.weighing is Weighing.SIMPLEX
    # What is nearly equal beside adapters that gain 1 is not beside adapters that gain .4.
    assert choose(RULES, nearly, standing, POLICY, unit=0.4).rule.name == "l1 0.03"


def test_what_a_rule_gained_on_all_audited_tasks_counts_as_much_as_what_it_is_expected_to_gain_here():
    found = {"simplex": certain(0.2), "l1 0.03": certain(0.3)}
    behind = replace(level(*found), gains={"simplex": 0.3, "l1 0.03": 0.215})
    # l1 is ahead by .0075, a tie, and then by .015.
    assert choose(RULES, found, behind, POLICY, unit=1.0).rule.weighing is Weighing.SIMPLEX
    barely = replace(behind, gains={"simplex": 0.3, "l1 0.03": 0.23})
    assert choose(RULES, found, barely, POLICY, unit=1.0).rule.name == "l1 0.03"


def test_a_rule_that_another_surely_beats_on_the_audited_tasks_is_not_chosen_whatever_it_promises():
    found = {"simplex": certain(0.2), "l1 0.03": certain(0.5)}
    beaten = level(*found)
    beaten = replace(beaten, doubts={**beaten.doubts, "l1 0.03": {"simplex": 0.01}})
    assert choose(RULES, found, beaten, POLICY, unit=1.0).rule.weighing is Weighing.SIMPLEX
    # A rule that may not be used here drives no other out.
    unsure = {**found, "simplex": certain(-0.1)}
    assert choose(RULES, unsure, beaten, POLICY, unit=1.0).rule.name == "l1 0.03"


def test_the_rule_that_promises_most_is_not_chosen_where_it_is_not_sure_to_gain():
    found = {"simplex": certain(0.2), "l1 0.03": replace(certain(-0.1), gain=0.9)}
    assert choose(RULES, found, level(*found), POLICY, unit=1.0).rule.weighing is Weighing.SIMPLEX


def test_a_rule_that_does_better_on_every_task_is_not_lost_to_one_with_a_narrower_bound():
    generator = np.random.default_rng(0)
    known = evidence(0, 30, noise=0.0)
    # Ever-better, by a fifth, but its feature tells nothing there: as the uniform rule's, it is the same everywhere.
    blind = replace(known, view=near(np.zeros_like(known.view.features)), gains=known.gains + 1.0)
    better = replace(known, gains=known.gains + 1.2 + 0.05 * generator.standard_normal(30))
    asked = {"uniform": near(np.zeros((1, 2))), "simplex": near(np.array([[0.05, 0.95]]))}
    found = choose_rules(RULES, {"uniform": blind, "simplex": better}, asked, POLICY)[0]
    assert found.expectations["uniform"].low > found.expectations["simplex"].low
    assert found.rule.weighing is Weighing.SIMPLEX


@given(seed=st.integers(0, 1000), factor=st.floats(1e-3, 1e3))
@settings(max_examples=10, deadline=None)
def test_the_unit_of_the_metric_changes_no_choice(seed: int, factor: float):
    first, second = evidence(seed, 12, noise=0.1), evidence(seed + 1, 12, noise=0.3)
    known = {"simplex": first, "l1 0.03": replace(first, gains=second.gains)}
    scaled = {
        name: replace(one, gains=one.gains * factor, ceilings=one.ceilings * factor) for name, one in known.items()
    }
    policy = replace(POLICY, floor=0.1)
    before, after = ([choice.rule for choice in backtest(RULES, one, policy)] for one in (known, scaled))
    assert before == after


def test_where_the_library_s_own_adapters_gain_nothing_at_home_nothing_is_chosen():
    generator = np.random.default_rng(0)
    known = replace(evidence(0, 30, noise=0.0), gains=np.full(30, 0.2))
    asked = {"simplex": near(np.array([[0.5, 0.5]]))}
    assert choose_rules(RULES, {"simplex": known}, asked, POLICY)[0].rule.weighing is Weighing.SIMPLEX
    useless = replace(known, ceilings=0.1 * generator.standard_normal(30))
    choice = choose_rules(RULES, {"simplex": useless}, asked, POLICY)[0]
    assert choice.rule == BASE
    assert "own adapters" in choice.reason


def test_nothing_sure_to_gain_means_the_base_model_and_says_so():
    choice = choose(RULES, {"l1 0.03": certain(-0.01)}, level("l1 0.03"), POLICY, unit=1.0)
    assert choice.rule == BASE
    assert "l1 0.03" in choice.reason


def test_without_an_audit_the_base_model_is_left_alone():
    assert choose(RULES, {}, level(), POLICY, unit=1.0).rule == BASE


def test_pools_are_asked_only_where_too_few_left_out_references_are_like_the_task():
    real, pools = evidence(0, 60, noise=0.01), evidence(1, 20, noise=0.01)
    wide = Evidence(
        near(np.concatenate([real.view.features, pools.view.features * 10])),
        np.concatenate([real.gains, np.full(20, -1.0)]),
        (*real.members, *(frozenset({f"p{i}"}) for i in range(20))),
        np.ones(80),
        np.ones(80),
        np.arange(80) < 60,
    )
    inside, beyond = near(np.array([[0.7, 0.4]])), near(np.array([[8.0, 2.0]]))
    with_pools = {"l1 0.03": wide}
    assert choose_rules(RULES, with_pools, {"l1 0.03": inside}, POLICY)[0].rule.name == "l1 0.03"
    choice = choose_rules(RULES, with_pools, {"l1 0.03": beyond}, POLICY)[0]
    assert choice.seen
    assert choice.rule == BASE
