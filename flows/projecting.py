"""The projecting stage: every target's weights on its neighbourhood, solved only where something changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

import tasks.blending
import tasks.projection
from flows.refresh import Library
from flows.report import failure_of
from flows.run import Run
from tasks.composition.calibration_store import calibration_digest, settled_calibration
from tasks.composition.composition import Composition, Neighbour, composition_digest
from tasks.composition.store import CompositionStore
from tasks.files import Failure, InvalidInput, Problem
from tasks.projection.calibration import Calibration, calibrate
from tasks.projection.neighbours import Neighbourhoods, nearest

Identity = tuple[str, tuple[Neighbour, ...]]  # a composition's digest, and the neighbourhood it is solved on


@dataclass(frozen=True, slots=True)
class Frame:
    """What all targets of a run share: the library as a matrix, and its scale."""

    names: tuple[str, ...]
    matrix: np.ndarray  # (n, d) float32
    calibration: Calibration
    calibration_digest: str


@dataclass(frozen=True, slots=True)
class Compositions:
    """Every target's composition, and how many of them had to be solved."""

    by_target: Mapping[str, Composition]
    solved: int
    failures: tuple[Failure, ...]


def frame_of(run: Run, library: Library) -> Frame:
    """Stack the library's prototypes in order of name, with the calibration that the compositions rest on."""
    names = tuple(sorted(library.references))
    if not names:
        raise InvalidInput(Problem("library", "no reference has a prototype", "see the failures above"))
    matrix = np.stack([library.references[name].prototype for name in names])
    within = np.stack([library.references[name].within_std for name in names])
    factor = run.settings.projection.recalibrate_beyond
    calibration = settled_calibration(run.workspace.calibration, calibrate(matrix, within), factor=factor)
    return Frame(names, matrix, calibration, calibration_digest(calibration))


def neighbours_of(library: Library, frame: Frame, found: Neighbourhoods, row: int) -> tuple[Neighbour, ...]:
    """A target's neighbourhood with the digests that its composition depends on."""
    adapters = {reference.name: reference.adapter_digest for reference in library.snapshot.references}
    names = [frame.names[index] for index in found.indices[row]]
    distances = np.sqrt(found.squared_distances[row])
    return tuple(
        Neighbour(name, float(distance), library.references[name].digest, adapters[name])
        for name, distance in zip(names, distances, strict=True)
    )


def recipe_settings(run: Run) -> dict[str, Any]:
    """Settings that a composed adapter depends on, as they enter digests and recipes."""
    return {
        "projection": run.settings.projection.model_dump(mode="json"),
        "blending": run.settings.blending.model_dump(mode="json"),
    }


def recipe_versions() -> dict[str, str]:
    """Versions of the pure code that a composed adapter depends on."""
    return {"projection": tasks.projection.VERSION, "blending": tasks.blending.VERSION}


def _digest(run: Run, library: Library, frame: Frame, target: str, neighbours: tuple[Neighbour, ...]) -> str:
    return composition_digest(
        target_prototype=library.target_prototypes[target].digest,
        neighbours=neighbours,
        calibration=frame.calibration_digest,
        base_model=library.snapshot.base.digest,
        settings=recipe_settings(run),
        versions=recipe_versions(),
    )


def _solve(
    run: Run, library: Library, frame: Frame, target: str, identity: tuple[str, tuple[Neighbour, ...]]
) -> Composition:
    # cvxpy is a second to import, and a night without changes never needs it.
    from tasks.projection.solve import project
    from tasks.projection.variants import Variant

    digest, neighbours = identity
    how = run.settings.projection
    projection = project(
        np.stack([library.references[n.reference].prototype for n in neighbours]),
        library.target_prototypes[target].prototype,
        variant=Variant(how.variant),
        relative_penalty=how.penalty,
        spread=frame.calibration.spread,
        centre=frame.calibration.centre,
        tolerance=how.tolerance,
    )
    return Composition(
        target=target,
        digest=digest,
        snapshot=library.snapshot.digest,
        neighbours=neighbours,
        weights=tuple(float(weight) for weight in projection.weights),
        penalty=projection.penalty,
        residual=projection.residual,
        coverage=projection.coverage,
        duality_gap=projection.duality_gap,
    )


def _identities(run: Run, library: Library, frame: Frame, targets: Sequence[str]) -> dict[str, Identity]:
    vectors = np.stack([library.target_prototypes[name].prototype for name in targets])
    found = nearest(frame.matrix, frame.names, vectors, count=run.settings.projection.neighbours)
    around = {name: neighbours_of(library, frame, found, row) for row, name in enumerate(targets)}
    return {name: (_digest(run, library, frame, name, near), near) for name, near in around.items()}


@task(name="project", cache_policy=NO_CACHE)
def project_targets(run: Run, library: Library, frame: Frame, targets: Sequence[str]) -> Compositions:
    """Weights of every target: read where nothing they depend on has changed, solved and certified elsewhere."""
    if not targets:
        return Compositions({}, 0, ())
    store = CompositionStore(run.workspace.compositions)
    known = store.read()
    identities = _identities(run, library, frame, targets)
    found = {name: known[name, key[0]] for name, key in identities.items() if (name, key[0]) in known}
    solved, failures = {}, []
    for name in [name for name in targets if name not in found]:
        try:
            solved[name] = _solve(run, library, frame, name, identities[name])
        except (ValueError, ArithmeticError) as error:
            failures.append(failure_of(name, "project", error))
    store.add(list(solved.values()))
    keep = {key for key in known if key[0] not in targets} | {(name, key[0]) for name, key in identities.items()}
    store.compact(keep)
    get_run_logger().info("%d compositions solved, %d unchanged", len(solved), len(found))
    return Compositions({**found, **solved}, len(solved), tuple(failures))
