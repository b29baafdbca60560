"""What MLflow keeps of one target's run: numbers, settings, the adapter, pictures, and the explanation's page."""

import time

from flows.building import Built
from flows.explanation import explanation_of, surroundings_of
from flows.refresh import Library
from flows.report import Registered, Report
from flows.run import Run
from tasks.evaluation.score_store import PICTURE_NAME
from tasks.registry.page import explanation_page
from tasks.registry.store import Registry


def now_ms() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return time.time_ns() // 1_000_000


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


def log_child(registry: Registry, built: Built, *, parent: str) -> str:
    """A target's run below the night's; returns its id."""
    target = built.composition.target
    run_id = registry.start_run(target, tags={"target": target, "digest": built.composition.digest}, parent=parent)
    registry.log(run_id, metrics=_metrics(built), params=_params(built), now_ms=now_ms())
    registry.log_directory(run_id, built.adapter, under="adapter")
    registry.log_json(run_id, built.recipe.as_json(), "recipe.json")
    registry.log_directory(run_id, built.pictures, under=None)
    if built.evaluation is not None and (built.evaluation / PICTURE_NAME).is_file():
        registry.log_file(run_id, built.evaluation / PICTURE_NAME)
    registry.end_run(run_id, succeeded=True)
    return run_id


def log_explanation(
    run: Run, registry: Registry, library: Library, built: Built, registered: Registered, *, run_id: str
) -> None:
    """The page and its numbers, beside the pictures; it tells the aliases, so it comes last."""
    composition = built.composition
    neighbours = [library.references[near.reference] for near in composition.neighbours]
    around = surroundings_of(run, built, neighbours, library.target_prototypes[composition.target])
    explanation = explanation_of(run.settings.projection, built, registered, around)
    registry.log_json(run_id, explanation, "explanation.json")
    registry.log_text(run_id, explanation_page(explanation), "explanation.html")


def log_audit(run: Run, report: Report) -> str:
    """An audit's run: every rule's mean gains as metrics and as a picture, and the whole report; returns its id."""
    from tasks.registry.pictures import rules_chart

    registry = run.registry()
    run_id = registry.start_run(time.strftime("%m-%d %H:%M:%S audit"), tags={"stage": "audit"})
    gains = {
        f"gain/{kind}/{row['rule']}": row[kind]
        for row in report["rules"]
        for kind in ("left_out", "pools")
        if row[kind] is not None
    }
    registry.log(run_id, metrics={**gains, "scored": report["scored"]}, params={}, now_ms=now_ms())
    if report["rules"]:
        registry.log_figure(run_id, rules_chart(report["rules"], says=report["verdict"]["says"]), "rules.png")
    registry.log_json(run_id, report, "audit.json")
    registry.end_run(run_id, succeeded=True)
    return run_id
