"""What a night of audit consists of: its trials, every rule's weights on them, what to score, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

import tasks.evaluation
from flows.audit_settings import AuditSettings
from flows.frame import covariance_of
from flows.refresh import Library
from flows.run import Run
from tasks.audit.choice import Policy
from tasks.audit.deciding import record_from
from tasks.audit.looking import Look, look_at
from tasks.audit.measuring import Asked, Need, Needs, Scores, asked_by, gains_by_rule, needs_of, transfers_of
from tasks.audit.rules import BASE, Rule, audited_rules
from tasks.audit.scenes import Scenes, Stage, stage_of, trial_scenes
from tasks.audit.schedule import stalest_first
from tasks.audit.store import Result
from tasks.audit.trials import Trial, trials_of
from tasks.projection.calibration import calibrate
from tasks.projection.preparation import Preparation, Transform, fit_transform
from tasks.prototypes.statistics import Prototype


@dataclass(frozen=True, slots=True)
class Plan:
    """One night's trials with every rule's weights, and what they need scored."""

    rules: tuple[Rule, ...]
    stage: Stage
    trials: tuple[Trial, ...]
    scenes: Scenes
    look: Look
    needs: Needs
    asked: Asked
    transfers: tuple[Need, ...]

    def everything(self) -> dict[str, Need]:
        """All needs by key: the rules', the references' own adapters', and those of single references."""
        wanted = [need for rows in self.asked.values() for row in rows if row is not None for need in row]
        names = {name for trial in self.trials for name in trial.members}
        wanted += [need for name in sorted(names) for need in (self.needs.base(name), self.needs.own(name))]
        return {need.key: need for need in (*wanted, *self.transfers)}


def rules_of(how: AuditSettings) -> tuple[Rule, ...]:
    """The rules that the settings name."""
    return audited_rules(penalties=how.penalties, temperatures=how.temperatures, preparations=how.preparations)


def policy_of(how: AuditSettings) -> Policy:
    """How the settings turn evidence into a choice."""
    return Policy(how.shrinkage, how.folds, how.confidence, how.margin, how.least, how.floor, how.tie)


def transforms_of(references: Mapping[str, Prototype], how: AuditSettings) -> dict[Preparation, Transform]:
    """The preparations that the settings name, fitted on the references."""
    ordered = [references[name] for name in sorted(references)]
    calibration = calibrate(np.stack([p.prototype for p in ordered]), np.stack([p.within_std for p in ordered]))
    covariance = None
    if Preparation.WHITENED in how.preparations:
        halves = (np.stack([p.half_a for p in ordered]), np.stack([p.half_b for p in ordered]))
        covariance = covariance_of(*halves, np.array([p.count for p in ordered]))
    return {one: fit_transform(one, calibration, within_covariance=covariance) for one in how.preparations}


def labelled(library: Library) -> list[str]:
    """References that can be scored: those with a prototype and labelled samples."""
    return [one.name for one in library.snapshot.references if one.evaluation and one.name in library.references]


def plan_audit(run: Run, library: Library, how: AuditSettings, results: Sequence[Result]) -> Plan:
    """Choose whom to audit, make their trials, and weigh them by every rule. Nothing is evaluated."""
    audited_at = {one.trial.name: one.audited_at for one in results}
    names = stalest_first(labelled(library), audited_at, seed=how.seed)[: how.references]
    trials = trials_of(names, halves=how.halves, pools=how.pools, seed=how.seed) if len(names) > 2 else ()
    stage, rules = stage_of(library.references), rules_of(how)
    needs = needs_of(library.snapshot, version=tasks.evaluation.VERSION)
    if not trials:
        return Plan(rules, stage, (), _nobody(stage), Look({}, {}), needs, {BASE.name: ()}, ())
    scenes = trial_scenes(stage, library.references, trials, neighbours=run.settings.projection.neighbours)
    transforms = transforms_of(library.references, how)
    tolerance = run.settings.projection.tolerance
    look = look_at(rules, stage, scenes, transforms, record_from(results), tolerance=tolerance)
    transfers = transfers_of(needs, stage, scenes, trials, count=how.transfers)
    return Plan(
        rules, stage, trials, scenes, look, needs, asked_by(needs, trials, stage, scenes, look), tuple(transfers)
    )


def _nobody(stage: Stage) -> Scenes:
    none = np.empty((0, stage.matrix.shape[1]), dtype=np.float32)
    return Scenes(none, none, none, np.empty(0), np.empty((0, 1), dtype=np.int64), np.empty((0, 1)), ())


def results_of(plan: Plan, scores: Scores, *, now: datetime) -> list[Result]:
    """A result for every trial and rule whose scores are all there."""
    gains = gains_by_rule(plan.asked, scores)
    names = {name for trial in plan.trials for name in trial.members}
    own = {name: (plan.needs.own(name).key, plan.needs.base(name).key) for name in names}
    ceiling = {
        name: float(scores[key].mean() - scores[base].mean())
        for name, (key, base) in own.items()
        if key in scores and base in scores
    }
    found = []
    for rule, values in gains.items():
        for row, trial in enumerate(plan.trials):
            if np.isfinite(values[row]) and all(name in ceiling for name in trial.members):
                best = float(np.mean([ceiling[name] for name in trial.members]))
                features = tuple(map(float, plan.look.features[rule][row]))
                found.append(Result(trial, rule, float(values[row]), best, features, now))
    return found
