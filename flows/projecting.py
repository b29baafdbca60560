"""The projecting stage: every target's weights on its neighbourhood, solved only where something changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

import tasks.blending
import tasks.projection
from flows.frame import Frame
from flows.refresh import Library
from flows.run import Run
from tasks.composition.composition import Composition, Neighbour, composition_digest
from tasks.composition.store import CompositionStore
from tasks.files import Failure
from tasks.projection.neighbours import nearest
from tasks.projection.projection import Projection
from tasks.projection.solve import project_many
from tasks.projection.variants import Variant

Identity = tuple[str, tuple[Neighbour, ...]]  # a composition's digest, and the neighbourhood it is solved on


@dataclass(frozen=True, slots=True)
class Compositions:
    """Every target's composition, and how many of them had to be solved."""

    by_target: Mapping[str, Composition]
    solved: int
    failures: tuple[Failure, ...]


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
        calibration=frame.digest,
        base_model=library.snapshot.base.digest,
        settings=recipe_settings(run),
        versions=recipe_versions(),
    )


def _composition(library: Library, target: str, identity: Identity, projection: Projection) -> Composition:
    digest, neighbours = identity
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


@dataclass(frozen=True, slots=True)
class _Question:
    """Targets among their neighbours: names (t,), prepared prototypes (t, d), library rows (t, k), identities (t,)."""

    targets: tuple[str, ...]
    vectors: np.ndarray
    rows: np.ndarray
    identities: tuple[Identity, ...]

    def only(self, positions: Sequence[int]) -> "_Question":
        """The same for some of the targets."""
        chosen = list(positions)
        return _Question(
            tuple(self.targets[position] for position in chosen),
            self.vectors[chosen],
            self.rows[chosen],
            tuple(self.identities[position] for position in chosen),
        )


def _question(run: Run, library: Library, frame: Frame, targets: Sequence[str]) -> _Question:
    vectors = frame.scale.transform(np.stack([library.target_prototypes[name].prototype for name in targets]))
    found = nearest(frame.matrix, frame.names, vectors, count=run.settings.projection.neighbours)
    identities = []
    for name, rows, squares in zip(targets, found.indices, found.squared_distances, strict=True):
        near = tuple(frame.neighbour(int(row), float(square)) for row, square in zip(rows, squares, strict=True))
        identities.append((_digest(run, library, frame, name, near), near))
    return _Question(tuple(targets), vectors, found.indices, tuple(identities))


def _solve(
    run: Run, library: Library, frame: Frame, question: _Question
) -> tuple[dict[str, Composition], tuple[Failure, ...]]:
    """Solve all targets in lockstep; each fails alone."""
    how = run.settings.projection
    solved = project_many(
        frame.matrix,
        question.rows,
        question.vectors,
        variant=Variant(how.variant),
        relative_penalty=np.full(len(question.targets), how.penalty),
        spread=frame.scale.calibration.spread,
        centre=frame.scale.calibration.centre,
        tolerance=how.tolerance,
        device=None,
    )
    if solved.by_ridge or solved.by_cvxpy:
        get_run_logger().info("%d targets needed a ridge, %d cvxpy", solved.by_ridge, solved.by_cvxpy)
    compositions = {
        name: _composition(library, name, identity, projection)
        for name, identity, projection in zip(question.targets, question.identities, solved.projections, strict=True)
        if projection is not None
    }
    remedy = "raise `projection.penalty`, or prepare the prototypes: `projection.preparation: standardised`"
    failures = [Failure(question.targets[row], "project", reason, remedy) for row, reason in solved.failures.items()]
    return compositions, tuple(failures)


@task(name="project", cache_policy=NO_CACHE)
def project_targets(run: Run, library: Library, frame: Frame, targets: Sequence[str]) -> Compositions:
    """Weights of every target: read where nothing they depend on has changed, solved and certified elsewhere."""
    if not targets:
        return Compositions({}, 0, ())
    store = CompositionStore(run.workspace.compositions)
    known = store.read()
    question = _question(run, library, frame, targets)
    keys = [(name, identity[0]) for name, identity in zip(question.targets, question.identities, strict=True)]
    found = {key[0]: known[key] for key in keys if key in known}
    open_ones = [position for position, key in enumerate(keys) if key not in known]
    solved, failures = _solve(run, library, frame, question.only(open_ones)) if open_ones else ({}, ())
    store.add(list(solved.values()))
    store.compact({key for key in known if key[0] not in targets} | set(keys))
    get_run_logger().info("%d compositions solved, %d unchanged", len(solved), len(found))
    return Compositions({**found, **solved}, len(solved), failures)
