"""Weights of many targets by one group of settings: solved on neighbourhoods or over the library, or by formula."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from prefect import get_run_logger

from flows.frame import Frame
from flows.settings import ProjectionSettings, RuleName, Scope
from flows.weighing import by_formula
from tasks.projection.given import measured_projection
from tasks.projection.pricing import LibraryWeights, longest_of, project_on_library
from tasks.projection.projection import Projection
from tasks.projection.solve import not_certified, project_many
from tasks.projection.variants import Variant


@dataclass(frozen=True, slots=True)
class Answer:
    """By position of the target: the library rows (k,) its weights belong to, nearest first, and the projection, or
    None with the reason where it failed.
    """

    rows: Sequence[np.ndarray]
    projections: Sequence[Projection | None]
    failures: Mapping[int, str]


def is_over_library(how: ProjectionSettings) -> bool:
    """Whether weights by these settings depend on every reference. Formulas, and `refit`, know neighbours only."""
    solves = how.rule is RuleName.PROJECTION and Variant(how.variant) is not Variant.REFIT
    return solves and how.exact is Scope.LIBRARY


def answer(frame: Frame, how: ProjectionSettings, vectors: np.ndarray, rows: np.ndarray) -> Answer:
    """Weights of prepared targets (t, d) whose neighbours are the rows (t, k) of the frame; each fails alone."""
    if how.rule is not RuleName.PROJECTION:
        return _by_formula(frame, how, vectors, rows)
    ask = _over_library if is_over_library(how) else _among_neighbours
    return ask(frame, how, vectors, rows)


def _by_formula(frame: Frame, how: ProjectionSettings, vectors: np.ndarray, rows: np.ndarray) -> Answer:
    pairs = zip(vectors, rows, strict=True)
    given = [by_formula(how, frame.matrix[near], vector, frame.scale.calibration) for vector, near in pairs]
    return Answer(list(rows), given, {})


def _among_neighbours(frame: Frame, how: ProjectionSettings, vectors: np.ndarray, rows: np.ndarray) -> Answer:
    solved = project_many(
        frame.matrix,
        rows,
        vectors,
        variant=Variant(how.variant),
        relative_penalty=np.full(len(vectors), how.penalty),
        spread=frame.scale.calibration.spread,
        centre=frame.scale.calibration.centre,
        tolerance=how.tolerance,
        device=None,
    )
    if solved.by_ridge or solved.by_cvxpy:
        get_run_logger().info("%d targets needed a ridge, %d cvxpy", solved.by_ridge, solved.by_cvxpy)
    return Answer(list(rows), solved.projections, solved.failures)


def _over_library(frame: Frame, how: ProjectionSettings, vectors: np.ndarray, rows: np.ndarray) -> Answer:
    spread = frame.scale.calibration.spread
    found = project_on_library(
        frame.matrix,
        rows,
        vectors,
        variant=Variant(how.variant),
        penalty=np.full(len(vectors), how.penalty * spread),
        spread=spread,
        longest=longest_of(frame.matrix),
        tolerance=how.tolerance,
    )
    lost = sum(one.lost for one in found)
    get_run_logger().info("%d of %d targets use references that retrieval missed", lost, len(found))
    wider = [_with_far_ones(frame, vector, near, one) for vector, near, one in zip(vectors, rows, found, strict=True)]
    projections, failures = list[Projection | None](), dict[int, str]()
    for position, (vector, all_rows, one) in enumerate(zip(vectors, wider, found, strict=True)):
        if one.gap > how.tolerance:
            failures[position] = not_certified(one.gap, how.tolerance)
        projections.append(None if one.gap > how.tolerance else _projection(frame, how, vector, all_rows, one))
    return Answer(wider, projections, failures)


def _with_far_ones(frame: Frame, vector: np.ndarray, near: np.ndarray, found: LibraryWeights) -> np.ndarray:
    """The neighbours' rows, and behind them those with weight that are none, nearest first and then by name."""
    far = np.setdiff1d(found.references, near)
    squares = np.square(frame.matrix[far].astype(np.float64) - vector).sum(axis=1)
    return np.concatenate([near, far[np.lexsort((far, squares))]])  # rows stand in order of name


def _projection(
    frame: Frame, how: ProjectionSettings, vector: np.ndarray, rows: np.ndarray, found: LibraryWeights
) -> Projection:
    weights = np.zeros(len(rows))
    place = {int(row): position for position, row in enumerate(rows)}
    weights[[place[int(row)] for row in found.references]] = found.weights
    scale = frame.scale.calibration
    return measured_projection(
        weights,
        frame.matrix[rows],
        vector,
        centre=scale.centre,
        penalty=how.penalty * scale.spread,
        relative_penalty=how.penalty,
        duality_gap=found.gap,
    )
