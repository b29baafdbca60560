"""What there is to say about one target's composition, as one JSON object; every page and picture is made of it."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flows.building import Built, baseline_weights
from flows.frame import Scale, stored_scale
from flows.methods import in_order
from flows.report import target_json
from flows.run import Run
from flows.settings import ProjectionSettings, RuleName
from flows.weighing import weigh_one
from tasks.composition.recipe import RECIPE_NAME
from tasks.files import InvalidInput, Problem
from tasks.projection.projection import NotCertified
from tasks.prototypes.statistics import Prototype

# Relative penalties of the path that is shown; below the first least squares, above the last the simplex.
PATH = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The prototypes of a composition's neighbours, nearest first, and of its target; and how they were prepared.

    `own` is the scale of the chosen rule's preparation, `usual` that of the project's.
    """

    neighbours: Sequence[Prototype]
    target: Prototype
    own: Scale
    usual: Scale


def not_composed(target: str) -> InvalidInput:
    """The error of a target that no night has composed."""
    return InvalidInput(Problem(target, "it has no composition yet", "run `tesserae nightly` or `compose` first"))


def surroundings_of(run: Run, built: Built, neighbours: Sequence[Prototype], target: Prototype) -> Surroundings:
    """Prototypes with the scales that the last night settled on. Raises InvalidInput where there was none."""
    preparation, everyone = built.recipe.settings["projection"]["preparation"], run.settings.projection.preparation
    own = stored_scale(run.workspace, preparation)
    usual = own if preparation == everyone else stored_scale(run.workspace, everyone)
    if own is None or usual is None:
        raise not_composed(built.composition.target)
    return Surroundings(neighbours, target, own, usual)


def _named(names: Sequence[str], weights: Sequence[float]) -> dict[str, float]:
    return {name: float(weight) for name, weight in zip(names, weights, strict=True) if weight != 0}


def _reweighed(how: ProjectionSettings, around: Surroundings, vector: np.ndarray) -> list[float] | None:
    atoms = around.own.transform(np.stack([one.prototype for one in around.neighbours]))
    try:
        found = weigh_one(how, atoms, around.own.transform(vector[None])[0], around.own.calibration)
    except NotCertified:
        return None
    return [float(weight) for weight in found.weights]


def _path(how: ProjectionSettings, names: Sequence[str], around: Surroundings) -> list[dict[str, Any]]:
    """Weights by penalty, in the chosen rule's variant; nothing where the rule has no penalty."""
    if how.rule is not RuleName.PROJECTION or how.variant in ("simplex", "refit"):
        return []
    found = []
    for penalty in sorted({*PATH, how.penalty}):
        weights = _reweighed(how.model_copy(update={"penalty": penalty}), around, around.target.prototype)
        if weights is not None:
            found.append({"penalty": penalty, "weights": _named(names, weights)})
    return found


def _halves(how: ProjectionSettings, names: Sequence[str], around: Surroundings) -> list[dict[str, float]]:
    """The weights that either half of the target's samples would give: how much of them is chance."""
    both = [_reweighed(how, around, half) for half in (around.target.half_a, around.target.half_b)]
    return [_named(names, weights) for weights in both if weights is not None]


def _modules(adapter: Path) -> list[dict[str, Any]]:
    """Norm of every module's delta and each reference's share of it, the largest first."""
    blend = json.loads((adapter / RECIPE_NAME).read_text(encoding="utf-8")).get("blend", {})
    rows = [
        {"module": name, "norm": one["norm"], "shares": dict(one["shares"])}
        for name, one in blend.get("modules", {}).items()
    ]
    return sorted(rows, key=lambda row: (-row["norm"], row["module"]))


def rebuild_command(built: Built) -> str:
    """The command that makes the adapter again from the library's."""
    how = built.recipe.settings["blending"]
    used = [item for item in built.recipe.ingredients if item.weight != 0]
    parts = [f"--adapter {shlex.quote(f'{item.adapter}={item.weight!r}')}" for item in used]
    parts += [f"--{key} {how[key]}" for key in ("rank", "energy") if how[key] is not None]
    return f"tesserae blend {' '.join(parts)} --profile {how['profile']} --dtype {how['dtype']} --out NEW_DIRECTORY"


def _intervals(built: Built) -> dict[str, dict[str, dict[str, Any]]]:
    scores = built.scores.scores if built.scores else {}
    return {method: {metric: asdict(score) for metric, score in scores[method].items()} for method in in_order(scores)}


def explanation_of(project: ProjectionSettings, built: Built, registered: Any, around: Surroundings) -> dict[str, Any]:
    """A target's entry of the report with neighbourhood, baselines, path, halves, modules, and the audit's choice."""
    composition = built.composition
    how = ProjectionSettings.model_validate(built.recipe.settings["projection"])
    names = [near.reference for near in composition.neighbours]
    baselines = baseline_weights(project, around.neighbours, around.target, around.usual)
    return {
        **target_json(built, registered),
        "snapshot": composition.snapshot,
        "digest": composition.digest,
        "promotion": registered.version.tags.get("promotion") if registered else None,
        "relative_penalty": how.penalty if how.rule is RuleName.PROJECTION else None,
        "neighbourhood": [
            {"reference": near.reference, "distance": near.distance, "weight": weight, "position": position}
            for position, (near, weight) in enumerate(zip(composition.neighbours, composition.weights, strict=True))
        ],
        "beyond": names[how.neighbours :],  # farther than the retrieved ones; `exact: library` gave them weight
        "baselines": {method: _named(names, weights) for method, weights in baselines.items()},
        "halves": _halves(how, names, around),
        "path": _path(how, names, around),
        "modules": _modules(built.adapter),
        "intervals": _intervals(built),
        "choice": built.choice,
        "rebuild": rebuild_command(built),
    }
