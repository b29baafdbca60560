"""Register: what a run made becomes MLflow runs, model versions and aliases. The one writer of the store."""

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from flows.building import Built
from flows.compose import Composed
from flows.judging import evidence_of, verdict_of
from flows.methods import methods_of
from flows.recording import log_child, log_explanation, now_ms
from flows.refresh import Library
from flows.report import Registered, Report, failure_of, failures_json, rule_name, target_json
from flows.run import Run
from flows.tasking import opaque_task
from tasks.audit.missing import wanted_references
from tasks.files import Failure
from tasks.registry.promotion import Verdict
from tasks.registry.store import CHALLENGER, CHAMPION, Registry, Version

ALIKE = 0.8  # cosine from which on two targets lack the same thing
WANTED = 5  # references that a report asks for at most


def _tags(built: Built, verdict: Verdict) -> dict[str, str]:
    return {
        "target": built.composition.target,
        "digest": built.composition.digest,
        "evaluation": built.evaluation_digest or "none",
        "rule": rule_name(built),
        "snapshot": built.composition.snapshot,
        "coverage": f"{built.composition.coverage:.6f}",
        "base_model": built.recipe.base_model,
        "promotion": verdict.reason,
    }


def _point_aliases(registry: Registry, version: Version, verdict: Verdict) -> Version:
    """Let the verdict's alias point at the version and take the other one from it; returns it as it stands then."""
    gained, lost = (CHAMPION, CHALLENGER) if verdict.promoted else (CHALLENGER, CHAMPION)
    registry.move_alias(version, gained)
    if lost in version.aliases:
        registry.drop_alias(version.model, lost)
    return replace(version, aliases=tuple(sorted({*version.aliases, gained} - {lost})))


def register_target(
    run: Run, registry: Registry, library: Library, built: Built, known: Version | None, *, parent: str
) -> Registered:
    """Register a target's composition unless exactly it, on exactly this evidence, is registered already as `known`."""
    if known is not None and known.tags.get("evidence") == evidence_of(built):
        return Registered(known, new=False)
    model = run.project.model_name(built.composition.target)
    verdict = verdict_of(run, built)
    run_id = log_child(registry, built, parent=parent)
    tags = _tags(built, verdict)
    version = known or registry.register(model, run_id=run_id, tags=tags)
    if known is not None:
        registry.tag(known, tags)
    version = _point_aliases(registry, version, verdict)
    registered = Registered(replace(version, tags={**version.tags, **tags}), new=known is None)
    log_explanation(run, registry, library, built, registered, run_id=run_id)
    # Last: while it is missing, the next night does all of this again, whatever this one died of.
    registry.tag(version, {"evidence": evidence_of(built)})
    return registered


@opaque_task("register")
def register_all(
    run: Run, library: Library, composed: Composed, *, parent: str
) -> tuple[Mapping[str, Registered], tuple[Failure, ...]]:
    """Register every target in turn; SQLite likes one writer."""
    registry, registered, failures = run.registry(), {}, []
    models = {target: run.project.model_name(target) for target in composed.built}
    known = registry.by_digests({models[name]: built.composition.digest for name, built in composed.built.items()})
    with run.stages.stage("registered", len(composed.built)) as advance:
        for target, built in composed.built.items():
            try:
                found = known.get(models[target])
                registered[target] = register_target(run, registry, library, built, found, parent=parent)
            except Exception as error:  # one target's trouble with the store must not lose the others' night
                failures.append(failure_of(target, "register", error))
            advance(1)
    return registered, tuple(failures)


def _summary(report: Report) -> str:
    methods = methods_of(report["targets"])
    lines = ["| target | support | coverage | " + " | ".join(methods) + " | version |"]
    lines.append("| --- " * (len(methods) + 4) + "|")
    for one in report["targets"]:
        values = [next(iter(one["scores"].get(method, {"": float("nan")}).values())) for method in methods]
        cells = [one["target"], str(len(one["support"])), f"{one['coverage']:.2f}", *(f"{v:.3f}" for v in values)]
        lines.append("| " + " | ".join([*cells, f"{one['version']} {' '.join(one['aliases'])}"]) + " |")
    lines += [
        f"\nwould help: a reference like {one['like']} (for {', '.join(one['serves'])})" for one in report["missing"]
    ]
    lines += [
        f"\nfailed: {one['item']} ({one['stage']}): {one['error']} -> {one['remedy']}" for one in report["failures"]
    ]
    return "\n".join(lines) + "\n"


def _missing(library: Library, composed: Composed, registered: Mapping[str, Registered]) -> list[dict[str, Any]]:
    """What the targets that are not served lack: the references that would help most of them."""
    residuals = {}
    for name, built in composed.built.items():
        if name in registered and CHAMPION not in registered[name].version.aliases:
            support = built.composition.support
            explained = sum(weight * library.references[one].prototype for one, weight in support.items())
            residuals[name] = library.target_prototypes[name].prototype - explained
    return [asdict(one) for one in wanted_references(residuals, alike=ALIKE, most=WANTED)]


def _totals(report: Report) -> dict[str, float]:
    totals: dict[str, Any] = {
        key: report[key] for key in ("prototypes_computed", "compositions_solved", "versions_registered", "seconds")
    }
    totals["failures"] = len(report["failures"])
    by_method: dict[str, list[float]] = {}
    for one in report["targets"]:
        for method, values in one["scores"].items():
            for metric, value in values.items():
                by_method.setdefault(f"mean_{metric}/{method}", []).append(value)
    return {**totals, **{key: sum(values) / len(values) for key, values in by_method.items()}}


def register_run(run: Run, library: Library, composed: Composed, *, run_id: str) -> Report:
    """The parent run of a night with a child for every target that changed; returns the contract's report."""
    from prefect.artifacts import create_markdown_artifact

    registry = run.registry()
    tags = {"snapshot": library.snapshot.digest, "prefect_flow_run": run_id}
    name = time.strftime("%m-%d %H:%M:%S night")
    parent = registry.start_run(name, tags=tags, start_ms=now_ms() - int(1000 * run.watch.seconds))
    registered, failures = register_all(run, library, composed, parent=parent)
    failures = library.failures + composed.failures + failures
    report: Report = {
        "run_id": run_id,
        "mlflow_run": parent,
        "snapshot": library.snapshot.digest,
        "prototypes_computed": library.computed,
        "compositions_solved": composed.solved,
        "versions_registered": sum(one.new for one in registered.values()),
        "seconds": run.watch.seconds,
        "failures": failures_json(failures),
        "targets": [target_json(built, registered.get(name)) for name, built in composed.built.items()],
        "missing": _missing(library, composed, registered),
    }
    registry.log(parent, metrics=_totals(report), params={}, now_ms=now_ms())
    summary = _summary(report)
    registry.log_text(parent, summary, "summary.md")
    registry.log_json(parent, report, "report.json")
    registry.end_run(parent, succeeded=True)
    create_markdown_artifact(summary, key="nightly-summary", description="Every target, every method")
    return report
