"""The contract's JSON report, and what a person reads of it in the terminal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tasks.files import Failure, InvalidInput

if TYPE_CHECKING:
    from tasks.registry.store import Version

Report = dict[str, Any]
INCUMBENT = "champion"  # the registered champion, scored on the same samples


@dataclass(frozen=True, slots=True)
class Registered:
    """The version that stands for a target after the run, and whether it is new."""

    version: "Version"
    new: bool


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has neither infinity nor NaN: a bound that promises nothing, a value of too few samples, is null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()
    }


def failure_of(item: str, stage: str, error: BaseException) -> Failure:
    """A failure in words: the error's own problem and remedy where it carries one."""
    if isinstance(error, InvalidInput):
        first = error.problems[0]
        what = "; ".join(f"{problem.item}: {problem.problem}" for problem in error.problems)
        return Failure(item, stage, what, first.remedy)
    what = f"{type(error).__name__}: {error}".strip(": ")
    return Failure(item, stage, what, "see the run's log; the other items are not affected")


def refresh_report(library: Any, *, run_id: str, seconds: float) -> Report:
    """The contract's report after a refresh: no compositions, no versions."""
    return {
        "run_id": run_id,
        "mlflow_run": None,
        "snapshot": library.snapshot.digest,
        "prototypes_computed": library.computed,
        "compositions_solved": 0,
        "versions_registered": 0,
        "seconds": seconds,
        "failures": failures_json(library.failures),
        "targets": [],
        "missing": [],
    }


def training_report(
    trained: int, failures: Sequence[Failure], *, run_id: str, mlflow_run: str | None, seconds: float
) -> Report:
    """What a training did."""
    return {
        "run_id": run_id,
        "mlflow_run": mlflow_run,
        "adapters_trained": trained,
        "seconds": seconds,
        "failures": failures_json(failures),
    }


def failures_json(failures: Sequence[Failure]) -> list[dict[str, str]]:
    """Failures as the contract lists them."""
    return [asdict(failure) for failure in failures]


def scores_json(built: Any) -> dict[str, dict[str, float]]:
    """Method to metric to value, without intervals; the incumbent's score is evidence for promotion, not a method."""
    scores = built.scores.scores if built.scores else {}
    return {
        method: {metric: score.value for metric, score in values.items()}
        for method, values in scores.items()
        if method != INCUMBENT
    }


def rule_name(built: Any) -> str:
    """How a target's weights were made, in the words of the audit's table: `l1 0.1 standardised`, `nearest`."""
    how = built.recipe.settings["projection"]
    strengths = {"projection": ("penalty", how["variant"]), "similarity": ("temperature", "similarity")}
    key, name = strengths.get(how["rule"], (None, how["rule"]))
    name = {"affine": "l1"}.get(name, name)
    strength = "" if key is None or name in ("simplex", "refit") else f" {how[key]:g}"
    prepared = "" if how["preparation"] == "raw" else f" {how['preparation']}"
    return f"{name}{strength}{prepared}"


def _expected(choice: Any) -> dict[str, Any] | None:
    """What the audit expects of a target and why; None where it was not asked."""
    if choice is None:
        return None
    return {"rule": choice["rule"], "reason": choice["reason"], "seen": choice["seen"], **choice["expected"]}


def target_json(built: Any, registered: Any) -> dict[str, Any]:
    """A target's entry in the report; version and aliases are empty where registering failed."""
    composition = built.composition
    return {
        "target": composition.target,
        "rule": rule_name(built),
        "expected": _expected(built.choice),
        "support": composition.support,
        "penalty": composition.penalty,
        "residual": composition.residual,
        "coverage": composition.coverage,
        "duality_gap": composition.duality_gap,
        "scores": scores_json(built),
        "model": registered.version.model if registered else None,
        "version": registered.version.version if registered else None,
        "aliases": list(registered.version.aliases) if registered else [],
        "adapter": str(built.adapter),
    }
