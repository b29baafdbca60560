"""The projecting stage: every target's weights on its neighbourhood, solved only where something changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from prefect import get_run_logger

import tasks.blending
import tasks.projection
from flows.frame import Frame, Frames
from flows.refresh import Library
from flows.run import Run
from flows.settings import ProjectionSettings
from flows.solving import answer, is_over_library
from flows.tasking import opaque_task
from tasks.composition.composition import Composition, Neighbour, composition_digest
from tasks.composition.store import CompositionStore
from tasks.files import Failure
from tasks.projection.neighbours import nearest
from tasks.projection.projection import Projection

Identity = tuple[str, tuple[Neighbour, ...]]  # a composition's digest, and the neighbourhood it is solved on


@dataclass(frozen=True, slots=True)
class Compositions:
    """Every target's composition, and how many of them had to be solved."""

    by_target: Mapping[str, Composition]
    solved: int
    failures: tuple[Failure, ...]


def recipe_settings(run: Run, how: ProjectionSettings) -> dict[str, Any]:
    """Settings that an adapter composed by `how` depends on, as they enter digests and recipes."""
    return {
        "projection": how.model_dump(mode="json"),
        "blending": run.settings.blending.model_dump(mode="json"),
    }


def recipe_versions() -> dict[str, str]:
    """Versions of the pure code that a composed adapter depends on."""
    return {"projection": tasks.projection.VERSION, "blending": tasks.blending.VERSION}


def _digest(
    run: Run, library: Library, frame: Frame, how: ProjectionSettings, target: str, neighbours: tuple[Neighbour, ...]
) -> str:
    return composition_digest(
        target_prototype=library.target_prototypes[target].digest,
        neighbours=neighbours,
        # An optimum over the library rests on all of it; one among neighbours must not change with the rest.
        calibration=frame.whole_digest if is_over_library(how) else frame.digest,
        base_model=library.snapshot.base.digest,
        settings=recipe_settings(run, how),
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


def _question(run: Run, library: Library, frame: Frame, how: ProjectionSettings, targets: Sequence[str]) -> _Question:
    vectors = frame.scale.transform(np.stack([library.target_prototypes[name].prototype for name in targets]))
    found = nearest(frame.matrix, frame.names, vectors, count=how.neighbours)
    identities = []
    for name, rows, squares in zip(targets, found.indices, found.squared_distances, strict=True):
        near = tuple(frame.neighbour(int(row), float(square)) for row, square in zip(rows, squares, strict=True))
        identities.append((_digest(run, library, frame, how, name, near), near))
    return _Question(tuple(targets), vectors, found.indices, tuple(identities))


@dataclass(frozen=True, slots=True)
class _Group:
    """Targets that are projected alike: their settings, the frame these need, and the question."""

    how: ProjectionSettings
    frame: Frame
    question: _Question

    @property
    def keys(self) -> list[tuple[str, str]]:
        """(target, digest) in order."""
        return [(name, one[0]) for name, one in zip(self.question.targets, self.question.identities, strict=True)]


def _answered(library: Library, group: _Group) -> tuple[dict[str, Composition], tuple[Failure, ...]]:
    question, frame = group.question, group.frame
    found = answer(frame, group.how, question.vectors, question.rows)
    compositions = {}
    for name, vector, identity, rows, projection in zip(
        question.targets, question.vectors, question.identities, found.rows, found.projections, strict=True
    ):
        if projection is not None:
            near, far = identity[1], rows[len(identity[1]) :]
            squares = np.square(frame.matrix[far].astype(np.float64) - vector).sum(axis=1)
            more = tuple(frame.neighbour(int(row), float(square)) for row, square in zip(far, squares, strict=True))
            compositions[name] = _composition(library, name, (identity[0], near + more), projection)
    remedy = "raise `projection.penalty`, or prepare the prototypes: `projection.preparation: standardised`"
    failures = [Failure(question.targets[row], "project", reason, remedy) for row, reason in found.failures.items()]
    return compositions, tuple(failures)


def _groups(run: Run, library: Library, frames: Frames, settings: Mapping[str, ProjectionSettings]) -> list[_Group]:
    alike: dict[ProjectionSettings, list[str]] = {}
    for name, how in settings.items():
        alike.setdefault(how, []).append(name)
    return [
        _Group(how, frames.under(how), _question(run, library, frames.under(how), how, names))
        for how, names in alike.items()
    ]


@opaque_task("project")
def project_targets(
    run: Run, library: Library, frames: Frames, settings: Mapping[str, ProjectionSettings]
) -> Compositions:
    """Weights of every target by its settings: read where nothing they depend on has changed, solved elsewhere."""
    if not settings:
        return Compositions({}, 0, ())
    store = CompositionStore(run.workspace.compositions)
    known, groups = store.read(), _groups(run, library, frames, settings)
    keys = [key for group in groups for key in group.keys]
    found = {key[0]: known[key] for key in keys if key in known}
    solved: dict[str, Composition] = {}
    failures: tuple[Failure, ...] = ()
    for group in groups:
        open_ones = [position for position, key in enumerate(group.keys) if key not in known]
        if open_ones:
            asked = _Group(group.how, group.frame, group.question.only(open_ones))
            made, failed = _answered(library, asked)
            solved, failures = {**solved, **made}, failures + failed
    store.add(list(solved.values()))
    store.compact({key for key in known if key[0] not in settings} | set(keys))
    get_run_logger().info("%d compositions solved, %d unchanged", len(solved), len(found))
    return Compositions({**found, **solved}, len(solved), failures)
