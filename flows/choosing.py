"""The choosing stage: the settings that each target is projected by, the audit's where there is one."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from flows.refresh import Library
from flows.report import finite
from flows.run import Run
from flows.settings import PreparationName, ProjectionSettings, RuleName, VariantName
from flows.tasking import opaque_task
from tasks.audit.rules import BASE, Rule, Weighing
from tasks.files import write_json

if TYPE_CHECKING:
    from tasks.audit.deciding import Decision

_VARIANTS = {
    Weighing.SIMPLEX: VariantName.SIMPLEX,
    Weighing.L1: VariantName.AFFINE,
    Weighing.REFIT: VariantName.REFIT,
}
_CLOSED = {Weighing.UNIFORM: RuleName.UNIFORM, Weighing.NEAREST: RuleName.NEAREST}


Choice = Mapping[str, Any]  # what `choice_json` says of an audit's decision, as it is stored


@dataclass(frozen=True, slots=True)
class Choices:
    """How each target is projected, and the audit's choices behind it; none where the audit was not asked."""

    settings: Mapping[str, ProjectionSettings]
    audited: Mapping[str, Choice]


def settings_of(rule: Rule, how: ProjectionSettings) -> ProjectionSettings:
    """The project's settings with an audited rule in their place.

    Where the audit leaves the base model alone the project's own projection is composed, to be registered as challenger
    and looked at; it is not promoted.
    """
    own: dict[str, object] = {"rule": RuleName.PROJECTION}
    if rule.weighing in _CLOSED:
        own = {"rule": _CLOSED[rule.weighing]}
    elif rule.weighing is Weighing.SIMILARITY:
        own = {"rule": RuleName.SIMILARITY, "temperature": rule.strength}
    elif rule != BASE:
        own |= {"variant": _VARIANTS[rule.weighing]}
        own |= {} if rule.strength is None else {"penalty": rule.strength}
    if rule != BASE:
        own |= {"preparation": PreparationName(rule.preparation.value)}
    return how.model_copy(update=own)


def choice_json(decision: "Decision") -> Choice:
    """The rule with what it is expected to gain and why, every rival, and the audited tasks most like the target."""
    choice = decision.choice
    return {
        "rule": choice.rule.name,
        "reason": choice.reason,
        "seen": choice.seen,
        "expected": finite(asdict(choice.expectation)),
        "rules": {name: finite(asdict(one)) for name, one in choice.expectations.items()},
        "features": finite(decision.features),
        "similar": [{"trial": o.trial, "gain": o.gain, "features": finite(o.features)} for o in decision.similar],
    }


@opaque_task("choose rules")
def choose_settings(run: Run, library: Library, targets: Sequence[str]) -> Choices:
    """Ask the stored audit which rule to trust for every target, if the project wants that and there is an audit."""
    how = run.settings.projection
    decisions = _decisions(run, library, targets) if how.rule is RuleName.AUDITED else {}
    usual = settings_of(BASE, how) if how.rule is RuleName.AUDITED else how
    settings = {name: settings_of(decisions[name].choice.rule, how) for name in decisions}
    audited = {name: choice_json(one) for name, one in decisions.items()}
    for name in targets:
        if name in audited:
            write_json(run.workspace.choice(name), audited[name])
        else:
            run.workspace.choice(name).unlink(missing_ok=True)
    return Choices({name: settings.get(name, usual) for name in targets}, audited)


def _decisions(run: Run, library: Library, targets: Sequence[str]) -> dict[str, "Decision"]:
    from tasks.audit.store import read_results

    results = read_results(run.workspace.audit)
    if not results or not targets:
        return {}
    # Only now: a project without an audit needs none of its statistics, which take a moment to import.
    from flows.auditing import policy_of, rules_of, transforms_of
    from tasks.audit.deciding import decide

    decided = decide(
        [library.target_prototypes[name] for name in targets],
        library.references,
        results,
        rules_of(run.settings.audit),
        transforms_of(library.references, run.settings.audit),
        policy=policy_of(run.settings.audit),
        used=run.settings.audit.features,
        neighbours=run.settings.projection.neighbours,
        tolerance=run.settings.projection.tolerance,
    )
    return {one.target: one for one in decided}
