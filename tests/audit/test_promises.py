"""What the audit promises, on libraries whose truth is known (tests/audit/synthetic.py)."""

import numpy as np
import pytest

from flows.audit_settings import AuditSettings
from tasks.audit.choice import Policy, backtest
from tasks.audit.findings import Verdict, verdict
from tasks.audit.rules import BASE
from tests.audit.synthetic import POLICY, Audited, World, audited, world

SEEDS = range(3)
USED = AuditSettings().features  # what is promised is what a user gets


def _audited(w: World, policy: Policy = POLICY) -> Audited:
    return audited(w, halves=1, pools=1, policy=policy, used=USED)


def _verdict(found: Audited) -> Verdict:
    """What the audit says of its library, from what it would have chosen for each left-out reference."""
    alone = {rule: one.rows(one.real) for rule, one in found.evidence.items()}
    gains = [
        None if choice.rule == BASE else float(alone[choice.rule.name].gains[row])
        for row, choice in enumerate(backtest(found.rules, alone, POLICY))
    ]
    return verdict(gains, confidence=POLICY.confidence)


@pytest.fixture(scope="module")
def sound() -> list[tuple[World, Audited]]:
    worlds = [world(seed, shared=20, apart=10, targets=40, shuffled=False) for seed in SEEDS]
    return [(w, _audited(w)) for w in worlds]


def _promoted(found: Audited, names: tuple[str, ...]) -> list[bool]:
    return [found.choices[name].rule != BASE for name in names]


def test_targets_inside_the_library_s_span_are_promoted(sound):
    assert np.mean([one for w, found in sound for one in _promoted(found, w.inside)]) >= 0.95


def test_targets_outside_of_it_are_left_to_the_base_model(sound):
    assert np.mean([one for w, found in sound for one in _promoted(found, w.outside)]) <= 0.05


@pytest.fixture(scope="module")
def shuffled() -> list[Audited]:
    return [_audited(world(seed, shared=20, apart=10, targets=40, shuffled=True)) for seed in SEEDS]


def test_where_adapters_do_not_belong_to_the_prototypes_hardly_anything_is_promoted(shuffled):
    assert np.mean([choice.rule != BASE for one in shuffled for choice in one.choices.values()]) <= 0.05


def test_where_adapters_do_not_belong_to_the_prototypes_the_audit_says_that_the_library_does_not_transfer(shuffled):
    for found in map(_verdict, shuffled):
        assert not found.transfers
        assert found.says.startswith("this library does not transfer")


def test_a_sound_library_is_said_to_transfer(sound):
    found = _verdict(sound[0][1])
    assert found.transfers
    assert found.says.startswith("this library transfers")


def test_the_worst_gain_is_surpassed_as_often_as_it_says(sound):
    kept = [
        found.gains[name][choice.rule.name] >= choice.expectation.worst
        for _, found in sound
        for name, choice in found.choices.items()
        if choice.rule != BASE
    ]
    # Two standard errors of a share of so many kept bounds.
    tail = 1 - POLICY.confidence
    assert np.mean(kept) >= POLICY.confidence - 2 * np.sqrt(tail * (1 - tail) / len(kept))


def test_a_library_of_three_promises_nothing():
    w = world(0, shared=3, apart=0, targets=4, shuffled=False)
    choices = _audited(w).choices.values()
    assert all(choice.rule == BASE and np.isinf(choice.expectations["simplex"].low) for choice in choices)
