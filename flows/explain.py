"""Explain: why a target's adapter is what it is, from the stored state alone."""

from pathlib import Path
from typing import Any

from flows.building import Built, baseline_weights
from flows.frame import stored_scale
from flows.register import Registered
from flows.report import target_json
from flows.run import Run, peek_run
from tasks.composition.composition import Composition
from tasks.composition.recipe import RECIPE_NAME, read_recipe
from tasks.composition.store import CompositionStore
from tasks.evaluation.score_store import read_scores
from tasks.files import InvalidInput, Problem
from tasks.prototypes.statistics import Prototype
from tasks.prototypes.store import PrototypeStore


def _not_composed(target: str) -> InvalidInput:
    return InvalidInput(Problem(target, "it has no composition yet", "run `tesserae nightly` or `compose` first"))


def _stored_composition(run: Run, target: str) -> Composition:
    found = [one for (name, _), one in CompositionStore(run.workspace.compositions).read().items() if name == target]
    whole = [one for one in found if (run.workspace.adapter(target, one.digest) / RECIPE_NAME).is_file()]
    if not whole:
        raise _not_composed(target)
    return whole[-1]


def _registered(run: Run, composition: Composition) -> Registered | None:
    version = run.registry().by_digest(run.project.model_name(composition.target), composition.digest)
    return None if version is None else Registered(version, new=False)


def _built(run: Run, composition: Composition, registered: Registered | None) -> Built:
    adapter = run.workspace.adapter(composition.target, composition.digest)
    digest = registered.version.tags.get("evaluation") if registered else None
    evaluation = run.workspace.evaluation(composition.target, digest) if digest and digest != "none" else None
    return Built(
        composition=composition,
        recipe=read_recipe(adapter),
        adapter=adapter,
        evaluation=evaluation,
        evaluation_digest=digest,
        scores=read_scores(evaluation) if evaluation else None,
    )


def _prototypes(run: Run, composition: Composition) -> tuple[list[Prototype], Prototype]:
    known = PrototypeStore(run.workspace.prototypes).read()
    by_name = {one.name: one for one in known.values()}
    missing = [near.reference for near in composition.neighbours if near.prototype_digest not in known]
    if missing or composition.target not in by_name:
        raise InvalidInput(
            Problem(composition.target, "its prototypes changed since it was composed", "run `tesserae nightly` again")
        )
    return [known[near.prototype_digest] for near in composition.neighbours], by_name[composition.target]


def explain_target(location: Path, target: str) -> dict[str, Any]:
    """A target's entry of the report with its neighbourhood and the baselines' weights. Raises InvalidInput."""
    with peek_run(location) as run:
        composition = _stored_composition(run, target)
        scale = stored_scale(run.workspace, run.settings.projection.preparation)
        if scale is None:
            raise _not_composed(target)
        registered = _registered(run, composition)
        built = _built(run, composition, registered)
        neighbours, own = _prototypes(run, composition)
        baselines = baseline_weights(run.settings.projection, composition, neighbours, own, scale)
        names = [near.reference for near in composition.neighbours]
        return {
            **target_json(built, registered),
            "snapshot": composition.snapshot,
            "digest": composition.digest,
            "neighbourhood": [
                {"reference": near.reference, "distance": near.distance, "weight": weight, "position": position}
                for position, (near, weight) in enumerate(zip(composition.neighbours, composition.weights, strict=True))
            ],
            "baselines": {
                method: {name: weight for name, weight in zip(names, weights, strict=True) if weight != 0}
                for method, weights in baselines.items()
            },
        }
