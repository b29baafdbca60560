"""Register: what a run made becomes MLflow runs, model versions and aliases. The one writer of the store."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.building import Built
from flows.compose import Composed
from flows.explanation import explanation_of, surroundings_of
from flows.messages import METHODS
from flows.refresh import Library
from flows.report import INCUMBENT, Report, failure_of, failures_json, rule_name, target_json
from flows.run import Run
from tasks.audit.rules import BASE
from tasks.evaluation.intervals import paired_interval
from tasks.evaluation.score_store import PICTURE_NAME
from tasks.evaluation.scores import Direction, TargetScores
from tasks.files import Failure
from tasks.registry.page import explanation_page
from tasks.registry.promotion import Contest, Verdict, decide_by_coverage, decide_by_labels
from tasks.registry.store import CHALLENGER, CHAMPION, Registry, Version


@dataclass(frozen=True, slots=True)
class Registered:
    """The version that stands for a target after the run, and whether it is new."""

    version: Version
    new: bool


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _contest(run: Run, scores: TargetScores, incumbent: str) -> Contest:
    metric, how = scores.primary, run.settings.evaluation
    own = scores.scores["chosen"][metric]
    sign = 1.0 if own.direction is Direction.HIGHER else -1.0
    ours, theirs = (sign * scores.values[method][metric] for method in ("chosen", incumbent))
    lead = paired_interval(ours, theirs, resamples=how.resamples, level=how.level, seed=how.seed)
    return Contest(
        metric=metric,
        challenger=own.value,
        incumbent=scores.scores[incumbent][metric].value,
        incumbent_name=incumbent,
        lead=lead.value,
        lead_low=lead.low,
        level=how.level,
    )


def _verdict(run: Run, built: Built) -> Verdict:
    """By labels where the target has some, else by the audit's expectation, else by coverage."""
    if built.scores is not None:
        incumbents = [method for method in ("base", INCUMBENT) if method in built.scores.scores]
        return decide_by_labels([_contest(run, built.scores, method) for method in incumbents])
    if built.choice is not None:
        return Verdict(built.choice["rule"] != BASE.name, built.choice["reason"])
    return decide_by_coverage(built.composition.coverage, floor=run.settings.registry.coverage_floor)


def _metrics(built: Built) -> dict[str, float]:
    composition = built.composition
    values = {
        "coverage": composition.coverage,
        "residual": composition.residual,
        "duality_gap": composition.duality_gap,
        "support": float(len(composition.support)),
    }
    for method, by in (built.scores.scores if built.scores else {}).items():
        for metric, score in by.items():
            values[f"{metric}/{method}"] = score.value
            values[f"{metric}/{method}/low"] = score.low
            values[f"{metric}/{method}/high"] = score.high
    return values


def _params(built: Built) -> dict[str, str]:
    how = built.recipe.settings["projection"]
    return {
        "rule": how["rule"],
        "variant": how["variant"],
        "preparation": how["preparation"],
        "relative_penalty": str(how["penalty"]),
        "temperature": str(how["temperature"]),
        "penalty": str(built.composition.penalty),
        "neighbours": str(len(built.composition.neighbours)),
        "snapshot": built.composition.snapshot,
        "digest": built.composition.digest,
        "base_model": built.recipe.base_model,
    }


def _log_pictures(registry: Registry, run_id: str, built: Built, *, level: float) -> None:
    from tasks.registry.pictures import Bar, methods_chart, weights_chart

    composition = built.composition
    weights = {near.reference: weight for near, weight in zip(composition.neighbours, composition.weights, strict=True)}
    chart = weights_chart(composition.target, weights, coverage=composition.coverage)
    registry.log_figure(run_id, chart, "weights.png")
    if built.scores is None:
        return
    for metric, first in built.scores.scores["chosen"].items():
        scores = {method: by[metric] for method, by in built.scores.scores.items()}
        shown = [method for method in (*METHODS, INCUMBENT) if method in scores]
        bars = [Bar(method, scores[method].value, scores[method].low, scores[method].high) for method in shown]
        chart = methods_chart(
            composition.target, bars, metric=metric, direction=first.direction, n=first.n, level=level
        )
        registry.log_figure(run_id, chart, f"methods_{metric}.png")
    if built.evaluation is not None and (built.evaluation / PICTURE_NAME).is_file():
        registry.log_file(run_id, built.evaluation / PICTURE_NAME)


def _log_explanation(
    run: Run, registry: Registry, library: Library, built: Built, registered: Registered, *, run_id: str
) -> None:
    """The page and its numbers, beside the pictures; it tells the aliases, so it comes last."""
    composition = built.composition
    neighbours = [library.references[near.reference] for near in composition.neighbours]
    around = surroundings_of(run, built, neighbours, library.target_prototypes[composition.target])
    explanation = explanation_of(run.settings.projection, built, registered, around)
    registry.log_json(run_id, explanation, "explanation.json")
    registry.log_text(run_id, explanation_page(explanation), "explanation.html")


def _log_child(run: Run, registry: Registry, built: Built, *, parent: str) -> str:
    target = built.composition.target
    run_id = registry.start_run(target, tags={"target": target, "digest": built.composition.digest}, parent=parent)
    registry.log(run_id, metrics=_metrics(built), params=_params(built), now_ms=_now_ms())
    registry.log_directory(run_id, built.adapter, under="adapter")
    registry.log_json(run_id, built.recipe.as_json(), "recipe.json")
    _log_pictures(registry, run_id, built, level=run.settings.evaluation.level)
    registry.end_run(run_id, succeeded=True)
    return run_id


def _evidence(built: Built) -> str:
    """What a verdict rests on: while it stands, a registered version is not judged again."""
    if built.evaluation_digest is not None:
        return built.evaluation_digest
    return "none" if built.choice is None else f"audit: {built.choice['rule']}"


def _tags(built: Built, verdict: Verdict) -> dict[str, str]:
    return {
        "target": built.composition.target,
        "digest": built.composition.digest,
        "evaluation": built.evaluation_digest or "none",
        "evidence": _evidence(built),
        "rule": rule_name(built),
        "snapshot": built.composition.snapshot,
        "coverage": f"{built.composition.coverage:.6f}",
        "base_model": built.recipe.base_model,
        "promotion": verdict.reason,
    }


def _point_aliases(registry: Registry, version: Version, verdict: Verdict) -> None:
    if not verdict.promoted:
        registry.move_alias(version, CHALLENGER)
        if CHAMPION in version.aliases:
            registry.drop_alias(version.model, CHAMPION)
        return
    registry.move_alias(version, CHAMPION)
    if CHALLENGER in version.aliases:
        registry.drop_alias(version.model, CHALLENGER)


def register_target(run: Run, registry: Registry, library: Library, built: Built, *, parent: str) -> Registered:
    """Register a target's composition unless exactly it, on exactly this evidence, is registered already."""
    model = run.project.model_name(built.composition.target)
    known = registry.by_digest(model, built.composition.digest)
    if known is not None and known.tags.get("evidence") == _evidence(built):
        return Registered(known, new=False)
    verdict = _verdict(run, built)
    run_id = _log_child(run, registry, built, parent=parent)
    tags = _tags(built, verdict)
    version = known or registry.register(model, run_id=run_id, tags=tags)
    if known is not None:
        registry.tag(known, tags)
    _point_aliases(registry, version, verdict)
    registered = Registered(registry.by_digest(model, built.composition.digest) or version, new=known is None)
    _log_explanation(run, registry, library, built, registered, run_id=run_id)
    return registered


@task(name="register", cache_policy=NO_CACHE)
def register_all(
    run: Run, library: Library, composed: Composed, *, parent: str
) -> tuple[Mapping[str, Registered], tuple[Failure, ...]]:
    """Register every target in turn; SQLite likes one writer."""
    registered, failures = {}, []
    with run.stages.stage("registered", len(composed.built)) as advance:
        for target, built in composed.built.items():
            try:
                registered[target] = register_target(run, run.registry(), library, built, parent=parent)
            except Exception as error:  # one target's trouble with the store must not lose the others' night
                failures.append(failure_of(target, "register", error))
            advance(1)
    return registered, tuple(failures)


def _summary(report: Report) -> str:
    methods = [m for m in METHODS if any(m in one["scores"] for one in report["targets"])]
    lines = ["| target | support | coverage | " + " | ".join(methods) + " | version |"]
    lines.append("| --- " * (len(methods) + 4) + "|")
    for one in report["targets"]:
        values = [next(iter(one["scores"].get(method, {"": float("nan")}).values())) for method in methods]
        cells = [one["target"], str(len(one["support"])), f"{one['coverage']:.2f}", *(f"{v:.3f}" for v in values)]
        lines.append("| " + " | ".join([*cells, f"{one['version']} {' '.join(one['aliases'])}"]) + " |")
    lines += [
        f"\nfailed: {one['item']} ({one['stage']}): {one['error']} -> {one['remedy']}" for one in report["failures"]
    ]
    return "\n".join(lines) + "\n"


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


def register_run(run: Run, library: Library, composed: Composed, *, run_id: str, started: float) -> Report:
    """The parent run of a night with a child for every target that changed; returns the contract's report."""
    from prefect.artifacts import create_markdown_artifact

    registry = run.registry()
    tags = {"snapshot": library.snapshot.digest, "prefect_flow_run": run_id}
    seconds = time.monotonic() - started
    name = time.strftime("%m-%d %H:%M:%S night")
    parent = registry.start_run(name, tags=tags, start_ms=_now_ms() - int(1000 * seconds))
    registered, failures = register_all(run, library, composed, parent=parent)
    failures = library.failures + composed.failures + failures
    report: Report = {
        "run_id": run_id,
        "mlflow_run": parent,
        "snapshot": library.snapshot.digest,
        "prototypes_computed": library.computed,
        "compositions_solved": composed.solved,
        "versions_registered": sum(one.new for one in registered.values()),
        "seconds": time.monotonic() - started,
        "failures": failures_json(failures),
        "targets": [target_json(built, registered.get(name)) for name, built in composed.built.items()],
    }
    registry.log(parent, metrics=_totals(report), params={}, now_ms=_now_ms())
    summary = _summary(report)
    registry.log_text(parent, summary, "summary.md")
    registry.log_json(parent, report, "report.json")
    registry.end_run(parent, succeeded=True)
    create_markdown_artifact(summary, key="nightly-summary", description="Every target, every method")
    return report
