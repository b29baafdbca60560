"""Targets and the stored audit to a rule for each target, with its weights: what `projection.rule: audited` does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.audit.choice import Choice, Policy, choose_rules
from tasks.audit.evidence import evidence_of
from tasks.audit.features import FEATURES, Record
from tasks.audit.gains import Evidence
from tasks.audit.looking import look_at
from tasks.audit.measuring import named_weights
from tasks.audit.rules import BASE, Rule
from tasks.audit.scenes import stage_of, target_scenes
from tasks.audit.store import Result
from tasks.audit.trials import Kind, Trial
from tasks.projection.preparation import Preparation, Transform
from tasks.prototypes.statistics import Prototype

SHOWN = 5  # audited tasks named as the record of a choice


@dataclass(frozen=True, slots=True)
class Audited:
    """One audited task like the target: how it looked to the chosen rule, and what that rule gained there."""

    trial: str
    features: Mapping[str, float]
    gain: float


@dataclass(frozen=True, slots=True)
class Decision:
    """A target's choice with its weights by reference, its features, and the audited tasks most like it."""

    target: str
    choice: Choice
    weights: Mapping[str, float]
    features: Mapping[str, float]
    similar: tuple[Audited, ...]


def evidence_from(results: Sequence[Result], rules: Sequence[Rule], *, used: Sequence[str]) -> dict[str, Evidence]:
    """Evidence by rule from stored results: the trials that every rule was scored on."""
    by_trial: dict[Trial, dict[str, Result]] = {}
    for one in results:
        by_trial.setdefault(one.trial, {})[one.rule] = one
    names = [rule.name for rule in rules if any(rule.name in found for found in by_trial.values())]
    trials = [trial for trial, found in by_trial.items() if all(name in found for name in names)]
    if not trials:
        return {}
    features = {name: np.array([by_trial[trial][name].features for trial in trials]) for name in names}
    gains = {name: np.array([by_trial[trial][name].gain for trial in trials]) for name in names}
    ceilings = np.array([next(iter(by_trial[trial].values())).ceiling for trial in trials])
    return evidence_of(trials, features, gains, ceilings, used=used)


def record_from(results: Sequence[Result]) -> Record:
    """What is known of single references."""
    alone = [one for one in results if one.trial.kind is Kind.LEFT_OUT]
    left_out: dict[str, dict[str, float]] = {}
    for one in alone:
        left_out.setdefault(one.rule, {})[one.trial.name] = one.gain
    return Record({one.trial.name: one.ceiling for one in alone}, left_out)


def decide(
    targets: Sequence[Prototype],
    references: Mapping[str, Prototype],
    results: Sequence[Result],
    rules: Sequence[Rule],
    transforms: Mapping[Preparation, Transform],
    *,
    policy: Policy,
    used: Sequence[str],
    neighbours: int,
    tolerance: float,
) -> list[Decision]:
    """Choose a rule for every target; without results, and wherever nothing is sure to gain, it is the base."""
    stage = stage_of(references)
    scenes = target_scenes(stage, targets, neighbours=neighbours)
    look = look_at(rules, stage, scenes, transforms, record_from(results), tolerance=tolerance)
    evidence = evidence_from(results, rules, used=used)
    choices = choose_rules(rules, evidence, look.views(used), policy)
    decisions = []
    for row, (target, choice) in enumerate(zip(targets, choices, strict=True)):
        shown = _nearest_name(choice)
        features = look.features[shown][row]
        decisions.append(
            Decision(
                target=target.name,
                choice=choice,
                weights=named_weights(stage, scenes, look.weights[choice.rule.name], row),
                features=dict(zip(FEATURES, map(float, features), strict=True)),
                similar=_similar(results, shown, features, used),
            )
        )
    return decisions


def _nearest_name(choice: Choice) -> str:
    """The chosen rule, or where the base was chosen the one that came nearest to being chosen."""
    rivals = {name: one for name, one in choice.expectations.items() if name != BASE.name}
    if choice.rule.name in rivals or not rivals:
        return choice.rule.name if choice.rule.name in rivals else "simplex"
    return max(rivals, key=lambda name: (rivals[name].low, rivals[name].gain))


def _similar(results: Sequence[Result], rule: str, features: np.ndarray, used: Sequence[str]) -> tuple[Audited, ...]:
    own = [one for one in results if one.rule == rule and np.isfinite(one.gain)]
    if not own:
        return ()
    positions = [FEATURES.index(name) for name in used]
    audited = np.array([one.features for one in own])[:, positions]
    scale = audited.std(axis=0)
    distance = np.linalg.norm((audited - features[positions]) / np.where(scale > 0, scale, 1.0), axis=1)
    return tuple(
        Audited(own[i].trial.label, dict(zip(FEATURES, own[i].features, strict=True)), own[i].gain)
        for i in np.argsort(distance, kind="stable")[:SHOWN]
    )
