"""The frame that targets are projected in: the library as one prepared matrix, and the scale that penalties rest on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flows.refresh import Library
from flows.run import Run
from flows.settings import PreparationName, ProjectionSettings
from flows.workspace import Workspace
from tasks.composition.calibration_store import calibration_digest, read_calibration, settled_calibration
from tasks.composition.composition import Neighbour
from tasks.files import InvalidInput, Problem, atomic_file, digest_bytes, digest_value
from tasks.projection.calibration import Calibration, calibrate
from tasks.projection.preparation import Preparation, Transform, fit_transform, within_covariance_of
from tasks.prototypes.matrix import MappedPrototypes

WIDEST = 4096  # coordinates that are whitened: the covariance takes 134 MB, its root a minute


@dataclass(frozen=True, slots=True)
class Scale:
    """How prototypes are prepared, and the calibration of the prepared ones."""

    transform: Transform
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class Frame:
    """Names and digests of the references in order of name, their prepared prototypes (n, d), and the settled scale.

    `digest` is that of everything the preparation and the scale rest on.
    """

    names: tuple[str, ...]
    prototype_digests: tuple[str, ...]
    adapter_digests: tuple[str, ...]
    matrix: np.ndarray
    scale: Scale
    digest: str

    @property
    def whole_digest(self) -> str:
        """That of the digest's content and every reference."""
        return digest_value([self.digest, self.names, self.prototype_digests, self.adapter_digests])

    def neighbour(self, row: int, squared_distance: float) -> Neighbour:
        """The reference in a row, as a member of a neighbourhood."""
        distance = float(np.sqrt(squared_distance))
        return Neighbour(self.names[row], distance, self.prototype_digests[row], self.adapter_digests[row])


def _prepared_deviation(transform: Transform, within: np.ndarray) -> np.ndarray:
    # Deviations do not move with the centre; a matrix or a unit length would mix them, and nothing reads them then.
    return within * transform.scale


def _settled_covariance(
    space: Workspace, preparation: PreparationName, settled: Calibration, references: MappedPrototypes
) -> np.ndarray | None:
    """What whitening rests on, kept as long as the library's calibration is; None for the other preparations."""
    if preparation is not PreparationName.WHITENED:
        return None
    path = space.covariance(calibration_digest(settled))
    if not path.is_file():
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, covariance_of(references.half_a, references.half_b, references.counts), allow_pickle=False)
    return read_covariance(path)


def covariance_of(half_a: np.ndarray, half_b: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Covariance (d, d) of the samples within a task, from the references' halves (n, d) and counts (n,).

    Raises InvalidInput where d is too large for a matrix.
    """
    d = half_a.shape[1]
    if d > WIDEST:
        problem = f"whitening needs a {d} x {d} matrix; the limit is {WIDEST} coordinates"
        raise InvalidInput(Problem("projection.preparation", problem, "take `standardised`, or `pooling: mean`"))
    return within_covariance_of(half_a, half_b, counts)


def read_covariance(path: Path) -> np.ndarray:
    """A stored covariance (d, d)."""
    return np.asarray(np.load(path, allow_pickle=False))


def _digest(calibration: Calibration, covariance: np.ndarray | None) -> str:
    own = calibration_digest(calibration)
    return own if covariance is None else digest_value([own, digest_bytes(covariance.tobytes())])


def _frame_of(run: Run, library: Library, how: ProjectionSettings) -> Frame:
    names, raw, within = tuple(library.references), library.references.prototypes, library.references.within_std
    if not names:
        raise InvalidInput(Problem("library", "no reference has a prototype", "see the failures above"))
    space = run.workspace
    settled = settled_calibration(space.calibration, calibrate(raw, within), factor=how.recalibrate_beyond)
    covariance = _settled_covariance(space, how.preparation, settled, library.references)
    transform = fit_transform(Preparation(how.preparation), settled, within_covariance=covariance)
    matrix = transform(raw)
    path = space.prepared_calibration(how.preparation, calibration_digest(settled))
    fresh = calibrate(matrix, _prepared_deviation(transform, within))
    calibration = settled_calibration(path, fresh, factor=how.recalibrate_beyond)
    adapters = {reference.name: reference.adapter_digest for reference in library.snapshot.references}
    return Frame(
        names=names,
        prototype_digests=tuple(library.references.digests),
        adapter_digests=tuple(adapters[name] for name in names),
        matrix=matrix,
        scale=Scale(transform, calibration),
        digest=_digest(calibration, covariance),
    )


class Frames:
    """The frames of one night, each made once: a large library takes long to prepare, and targets share few."""

    def __init__(self, run: Run, library: Library) -> None:
        self._run, self._library = run, library
        self._made: dict[PreparationName, Frame] = {}

    def under(self, how: ProjectionSettings) -> Frame:
        """The library as the settings prepare it. Raises InvalidInput where no reference has a prototype."""
        if how.preparation not in self._made:
            self._made[how.preparation] = _frame_of(self._run, self._library, how)
        return self._made[how.preparation]


def stored_scale(workspace: Workspace, preparation: str) -> Scale | None:
    """The scale that the last night settled on, or None before the first."""
    raw = read_calibration(workspace.calibration)
    if raw is None:
        return None
    prepared = read_calibration(workspace.prepared_calibration(preparation, calibration_digest(raw)))
    if prepared is None:
        return None
    stored = workspace.covariance(calibration_digest(raw))
    covariance = read_covariance(stored) if preparation == PreparationName.WHITENED else None
    return Scale(fit_transform(Preparation(preparation), raw, within_covariance=covariance), prepared)
