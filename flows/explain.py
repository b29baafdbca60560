"""Explain: why a target's adapter is what it is, from the stored state alone."""

import json
from pathlib import Path
from typing import Any

from flows.building import Built, pictures_of
from flows.explanation import Surroundings, explanation_of, not_composed, surroundings_of
from flows.report import Registered
from flows.run import Run, peek_run
from tasks.composition.composition import Composition
from tasks.composition.recipe import RECIPE_NAME, read_recipe
from tasks.composition.store import CompositionStore
from tasks.evaluation.score_store import read_scores
from tasks.files import InvalidInput, Problem, atomic_file
from tasks.prototypes.store import PrototypeStore
from tasks.registry.page import explanation_page


def _stored_composition(run: Run, target: str) -> Composition:
    found = [one for (name, _), one in CompositionStore(run.workspace.compositions).read().items() if name == target]
    whole = [one for one in found if (run.workspace.adapter(target, one.digest) / RECIPE_NAME).is_file()]
    if not whole:
        raise not_composed(target)
    return whole[-1]


def _registered(run: Run, composition: Composition) -> Registered | None:
    version = run.registry().by_digest(run.project.model_name(composition.target), composition.digest)
    return None if version is None else Registered(version, new=False)


def _choice(run: Run, target: str) -> dict[str, Any] | None:
    path = run.workspace.choice(target)
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


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
        pictures=pictures_of(run, composition, evaluation),
        choice=_choice(run, composition.target),
    )


def _surroundings(run: Run, built: Built) -> Surroundings:
    composition = built.composition
    known = PrototypeStore(run.workspace.prototypes).read()
    by_name = {one.name: one for one in known.values()}
    missing = [near.reference for near in composition.neighbours if near.prototype_digest not in known]
    if missing or composition.target not in by_name:
        raise InvalidInput(
            Problem(composition.target, "its prototypes changed since it was composed", "run `tesserae nightly` again")
        )
    neighbours = [known[near.prototype_digest] for near in composition.neighbours]
    return surroundings_of(run, built, neighbours, by_name[composition.target])


def explain_target(location: Path, target: str) -> dict[str, Any]:
    """All there is to say about a target's composition, from the stored state alone. Raises InvalidInput."""
    with peek_run(location) as run:
        composition = _stored_composition(run, target)
        registered = _registered(run, composition)
        built = _built(run, composition, registered)
        return explanation_of(run.settings.projection, built, registered, _surroundings(run, built))


def write_page(path: Path, explanation: dict[str, Any]) -> None:
    """The explanation as a page of HTML; the file appears whole."""
    with atomic_file(path) as temporary:
        temporary.write_text(explanation_page(explanation), encoding="utf-8")
