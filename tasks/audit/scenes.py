"""Many tasks to compose, each among its neighbours; trials and targets alike, so that both are treated the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.audit.trials import Trial, pooled_vector
from tasks.projection.neighbours import nearest
from tasks.prototypes.statistics import Prototype


@dataclass(frozen=True, slots=True)
class Stage:
    """The library as the scenes see it: names, prototypes (n, d) float32, spread, and centre (d,)."""

    names: tuple[str, ...]
    matrix: np.ndarray
    centre: np.ndarray
    spread: float


@dataclass(frozen=True, slots=True)
class Scenes:
    """t tasks: prototypes and halves (t, d), neighbours by row (t, k) nearest first, and whom each must not use."""

    targets: np.ndarray
    half_a: np.ndarray
    half_b: np.ndarray
    standard_errors: np.ndarray  # (t,)
    indices: np.ndarray
    squared_distances: np.ndarray  # (t, k)
    hidden: tuple[frozenset[str], ...]

    @property
    def count(self) -> int:
        """Number of tasks."""
        return len(self.targets)

    def centres(self, stage: Stage) -> np.ndarray:
        """Centre (t, d) of the library without what each task must not use: a hidden reference leaves no trace."""
        rows, n = {name: row for row, name in enumerate(stage.names)}, len(stage.names)
        centres = np.tile(stage.centre, (self.count, 1))
        for position, names in enumerate(self.hidden):
            for name in names:
                centres[position] += (stage.centre - stage.matrix[rows[name]]) / (n - 1)
        return centres

    def spreads(self, stage: Stage) -> np.ndarray:
        """Spread (t,) of the library without what each task must not use.

        Taking z out of n vectors of mean c lowers their summed squared deviation by n / (n - 1) ||z - c||^2.
        """
        rows, n = {name: row for row, name in enumerate(stage.names)}, len(stage.names)
        spreads = np.full(self.count, stage.spread)
        for position, names in enumerate(self.hidden):
            for name in names:
                taken = float(np.square(stage.matrix[rows[name]].astype(np.float64) - stage.centre).sum()) * n / (n - 1)
                spreads[position] = max(stage.spread * n - taken, 0.0) / (n - 1)
        return spreads


def stage_of(prototypes: Mapping[str, Prototype]) -> Stage:
    """The library's prototypes in order of name, with their own centre and spread."""
    names = tuple(sorted(prototypes))
    matrix = np.stack([prototypes[name].prototype for name in names])
    centre = matrix.astype(np.float64).mean(axis=0)
    return Stage(names, matrix, centre, float(np.square(matrix - centre).sum(axis=1).mean()))


def _retrieved(
    stage: Stage, targets: np.ndarray, hidden: Sequence[frozenset[str]], count: int
) -> tuple[np.ndarray, np.ndarray]:
    most = max(map(len, hidden), default=0)
    count = min(count, len(stage.names) - most)
    found = nearest(stage.matrix, stage.names, targets, count=count + most)
    indices, distances = np.empty((len(targets), count), dtype=np.int64), np.empty((len(targets), count))
    for row, names in enumerate(hidden):
        allowed = [place for place, index in enumerate(found.indices[row]) if stage.names[index] not in names][:count]
        indices[row], distances[row] = found.indices[row][allowed], found.squared_distances[row][allowed]
    return indices, distances


def trial_scenes(
    stage: Stage, prototypes: Mapping[str, Prototype], trials: Sequence[Trial], *, neighbours: int
) -> Scenes:
    """Scenes of trials on the library's own references."""

    def pooled(field: str) -> np.ndarray:
        vectors = {name: getattr(one, field) for name, one in prototypes.items()}
        return np.stack([pooled_vector(trial, vectors) for trial in trials]).astype(np.float32)

    errors = [
        np.sqrt(np.mean([prototypes[name].standard_error ** 2 for name in t.members]) / len(t.members)) for t in trials
    ]
    targets, hidden = pooled("prototype"), tuple(trial.hidden for trial in trials)
    indices, distances = _retrieved(stage, targets, hidden, neighbours)
    return Scenes(targets, pooled("half_a"), pooled("half_b"), np.array(errors), indices, distances, hidden)


def target_scenes(stage: Stage, targets: Sequence[Prototype], *, neighbours: int) -> Scenes:
    """Scenes of targets, which may use the whole library."""
    hidden = (frozenset[str](),) * len(targets)
    stacked = np.stack([one.prototype for one in targets])
    indices, distances = _retrieved(stage, stacked, hidden, neighbours)
    return Scenes(
        targets=stacked,
        half_a=np.stack([one.half_a for one in targets]),
        half_b=np.stack([one.half_b for one in targets]),
        standard_errors=np.array([one.standard_error for one in targets], dtype=np.float64),
        indices=indices,
        squared_distances=distances,
        hidden=hidden,
    )
