"""The doubly-left-out audit: a target's library is all others, and the audit of that library never sees the target."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from flows.audit_settings import AuditSettings
from flows.auditing import rules_of, transforms_of
from tasks.audit.evidence import evidence_of
from tasks.audit.features import Record
from tasks.audit.gains import Evidence
from tasks.audit.looking import Look, look_at
from tasks.audit.measuring import named_weights
from tasks.audit.rules import BASE, Rule
from tasks.audit.scenes import Scenes, Stage, stage_of, target_scenes, trial_scenes
from tasks.audit.trials import Trial, trials_of
from tasks.prototypes.statistics import Prototype
from tests.benchmarks.audit_scoring import Blended, blended

NEIGHBOURS, TOLERANCE = 32, 1e-6

Scores = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Case:
    """One target, the trials of its library, and how every rule looks on both."""

    target: str
    rules: tuple[Rule, ...]
    trials: tuple[Trial, ...]
    asked: Mapping[str, tuple[Blended, ...]]  # rule -> one blend a trial
    wanted: Mapping[str, Blended]  # rule -> the blend of the target
    look: Look
    seen: Look

    def everything(self) -> list[Blended]:
        """All that has to be scored."""
        return [one for rule in self.rules for one in (*self.asked[rule.name], self.wanted[rule.name])]

    def evidence(self, scores: Scores, *, used: tuple[str, ...]) -> dict[str, Evidence]:
        """What the audit of the library knows."""
        base = self._means(BASE.name, scores)
        gains = {r.name: self._means(r.name, scores) - base for r in self.rules if r != BASE}
        own = np.array([scores[blended(trial.name, {trial.name: 1.0}).key].mean() for trial in self.trials])
        features = {name: found for name, found in self.look.features.items() if name != BASE.name}
        return evidence_of(self.trials, features, gains, own - base, used=used)

    def _means(self, rule: str, scores: Scores) -> np.ndarray:
        return np.array([scores[one.key].mean() for one in self.asked[rule]])

    def gains(self, scores: Scores) -> dict[str, float]:
        """What every rule gains on the target."""
        base = scores[self.wanted[BASE.name].key].mean()
        return {rule: float(scores[one.key].mean() - base) for rule, one in self.wanted.items()}


def case_of(prototypes: Mapping[str, Prototype], target: str, hidden: set[str], how: AuditSettings) -> Case:
    """The case of a target whose library lacks it and everything in `hidden`."""
    library = {name: one for name, one in prototypes.items() if name != target and name not in hidden}
    rules, stage, scenes, look = weighed(library, how)
    there = target_scenes(stage, [prototypes[target]], neighbours=NEIGHBOURS)
    seen = look_at(rules, stage, there, transforms_of(library, how), Record({}, {}), tolerance=TOLERANCE)
    asked = {rule: _blends(stage, scenes, weights, stage.names) for rule, weights in look.weights.items()}
    wanted = {rule: _blends(stage, there, weights, (target,))[0] for rule, weights in seen.weights.items()}
    trials = trials_of(stage.names, halves=0, pools=0, seed=how.seed)
    return Case(target, rules, trials, asked, wanted, look, seen)


def weighed(library: Mapping[str, Prototype], how: AuditSettings) -> tuple[tuple[Rule, ...], Stage, Scenes, Look]:
    """Every reference left out of its library, in order of name, by every rule."""
    rules, stage = rules_of(how), stage_of(library)
    trials = trials_of(stage.names, halves=0, pools=0, seed=how.seed)
    scenes = trial_scenes(stage, library, trials, neighbours=NEIGHBOURS)
    # No record of earlier nights: the features that recall it are not in use by default.
    look = look_at(rules, stage, scenes, transforms_of(library, how), Record({}, {}), tolerance=TOLERANCE)
    return rules, stage, scenes, look


def _blends(stage: Stage, scenes: Scenes, weights: np.ndarray, on: tuple[str, ...]) -> tuple[Blended, ...]:
    return tuple(blended(name, named_weights(stage, scenes, weights, row)) for row, name in enumerate(on))
