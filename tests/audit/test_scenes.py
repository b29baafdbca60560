"""Trials and scenes: what is hidden leaves no trace."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.audit.features import FEATURES, Record
from tasks.audit.looking import look_at
from tasks.audit.rules import Rule, Weighing, audited_rules
from tasks.audit.scenes import stage_of, trial_scenes
from tasks.audit.trials import Kind, trials_of
from tasks.projection.preparation import Preparation
from tests.audit.synthetic import IDENTITY, RULES, prototype


def library(seed: int, count: int, scale: float = 1.0) -> dict:
    generator = np.random.default_rng(seed)
    vectors = scale * generator.standard_normal((count, 40))
    return {f"r{i}": prototype(f"r{i}", vector, generator, noise=0.0) for i, vector in enumerate(vectors)}


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_a_hidden_reference_leaves_no_trace_in_neighbours_centre_or_spread(seed: int):
    known = library(seed, 6)
    trials = trials_of(list(known), halves=0, pools=0, seed=0)
    stage = stage_of(known)
    scenes = trial_scenes(stage, known, trials, neighbours=32)
    for row, trial in enumerate(trials):
        rest = stage_of({name: one for name, one in known.items() if name != trial.name})
        assert trial.name not in {stage.names[index] for index in scenes.indices[row]}
        assert scenes.centres(stage)[row] == pytest.approx(rest.centre, abs=1e-6)
        assert scenes.spreads(stage)[row] == pytest.approx(rest.spread, rel=1e-6)


def test_trials_cover_every_reference_and_keep_their_partners_when_others_join():
    few, more = ([f"r{i}" for i in range(n)] for n in (6, 7))
    first, second = (trials_of(names, halves=2, pools=1, seed=0) for names in (few, more))
    assert [trial.name for trial in first if trial.kind is Kind.LEFT_OUT] == few
    lost = {trial.label for trial in first} - {trial.label for trial in second}
    assert all(
        "r6" in {t.partner for t in second if t.name == label.split("+")[0]} or "pooled" in label for label in lost
    )


def test_a_pool_of_kept_references_is_rebuilt_from_its_two_halves():
    known = library(0, 6)
    trials = [trial for trial in trials_of(list(known), halves=0, pools=1, seed=0) if trial.kind is Kind.POOLED]
    stage = stage_of(known)
    scenes = trial_scenes(stage, known, trials, neighbours=32)
    look = look_at(RULES, stage, scenes, IDENTITY, Record({}, {}), tolerance=1e-6)
    for row, trial in enumerate(trials):
        weights = {stage.names[i]: w for i, w in zip(scenes.indices[row], look.weights["simplex"][row], strict=True)}
        assert {name: w for name, w in weights.items() if w > 1e-6} == pytest.approx(
            dict.fromkeys(trial.members, 0.5), abs=1e-4
        )
    explained = look.features["simplex"][:, FEATURES.index("explained")]
    assert explained == pytest.approx(1.0, abs=1e-3)


@given(factor=st.floats(0.01, 100))
@settings(max_examples=5, deadline=None)
def test_features_do_not_depend_on_the_prototypes_scale(factor: float):
    looks = []
    for scale in (1.0, factor):
        known = library(3, 6, scale)
        stage = stage_of(known)
        trials = trials_of(list(known), halves=1, pools=0, seed=0)
        scenes = trial_scenes(stage, known, trials, neighbours=32)
        looks.append(look_at(RULES, stage, scenes, IDENTITY, Record({}, {}), tolerance=1e-6))
    for rule in ("simplex", "l1 0.1", "nearest"):
        noiseless = looks[0].features[rule]
        assert looks[1].features[rule] == pytest.approx(noiseless, abs=1e-3)


def test_rules_that_a_preparation_cannot_change_are_listed_once_and_the_base_comes_first():
    rules = audited_rules(penalties=(0.1,), temperatures=(), preparations=(Preparation.RAW, Preparation.STANDARDISED))
    assert rules[0].weighing is Weighing.BASE
    assert sum(rule.weighing is Weighing.NEAREST for rule in rules) == 1
    assert Rule(Weighing.L1, 0.1, Preparation.STANDARDISED) in rules
    assert len({rule.name for rule in rules}) == len(rules)
