"""What is done to prototypes before any distance is taken, fitted on the library once and stored with its snapshot.

Encoder coordinates differ in size by orders of magnitude (massive activations) and share a common mean, so raw squared
distances can be ruled by coordinates that say nothing about the task. The measurements that set the default are in
docs/benchmarks.md.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from tasks.projection.calibration import Calibration

DEAD = 1e-3  # of the root mean square deviation: a coordinate that varies less is not blown up further


class Preparation(Enum):
    """Kinds of preparation.

    CENTRED subtracts the library's mean. STANDARDISED then divides each coordinate by its deviation within tasks; UNIT
    scales centred prototypes to length one, STANDARDISED_UNIT standardised ones. WHITENED multiplies centred ones by
    the inverse square root of the within-task covariance (Ledoit and Wolf, "A well-conditioned estimator for
    large-dimensional covariance matrices", 2004).
    """

    RAW = "raw"
    CENTRED = "centred"
    STANDARDISED = "standardised"
    UNIT = "unit"
    STANDARDISED_UNIT = "standardised unit"
    WHITENED = "whitened"


@dataclass(frozen=True, slots=True)
class Transform:
    """x -> matrix @ ((x - centre) * scale), then to length one where `unit`.

    centre, scale: (d,) float64; matrix: (d, d) symmetric float64, or None for the identity.
    """

    centre: np.ndarray
    scale: np.ndarray
    matrix: np.ndarray | None
    unit: bool

    def linear(self, vectors: np.ndarray) -> np.ndarray:
        """The part before scaling to length one, float64, (m, d) to (m, d)."""
        moved = vectors.astype(np.float64)
        moved -= self.centre
        moved *= self.scale
        return moved if self.matrix is None else moved @ self.matrix

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Prepared vectors (m, d), float32 like the prototypes; the centre itself stays at zero."""
        out = self.linear(vectors)
        if self.unit:
            lengths = np.linalg.norm(out, axis=1, keepdims=True)
            out /= np.where(lengths > 0.0, lengths, 1.0)
        return out.astype(np.float32)

    def query(self, prepared: np.ndarray) -> np.ndarray:
        """Vectors q (m, d), float64, with linear(x) . prepared = (x - centre) . q: the library need not be prepared."""
        wide = prepared.astype(np.float64)
        return (wide if self.matrix is None else wide @ self.matrix) * self.scale


def fit_transform(
    preparation: Preparation, calibration: Calibration, *, within_covariance: np.ndarray | None
) -> Transform:
    """The transform of a library with this calibration; WHITENED needs its within-task covariance (d, d)."""
    d = len(calibration.centre)
    plain = np.ones(d)
    match preparation:
        case Preparation.RAW:
            return Transform(np.zeros(d), plain, None, False)
        case Preparation.CENTRED:
            return Transform(calibration.centre, plain, None, False)
        case Preparation.UNIT:
            return Transform(calibration.centre, plain, None, True)
        case Preparation.STANDARDISED:
            return Transform(calibration.centre, _inverse_deviation(calibration.within_std), None, False)
        case Preparation.STANDARDISED_UNIT:
            return Transform(calibration.centre, _inverse_deviation(calibration.within_std), None, True)
        case Preparation.WHITENED:
            if within_covariance is None:
                raise ValueError("whitening needs the within-task covariance; see within_covariance_of")
            return Transform(calibration.centre, plain, _inverse_root(within_covariance), False)


def within_covariance_of(half_a: np.ndarray, half_b: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Ledoit-Wolf estimate (d, d) of the samples' covariance within a task, from the references' split halves (n, d).

    The two half means of a task with `counts` samples differ by noise of covariance 4 / count times that of one
    sample, whatever the task, so the references' differences are n draws of it.
    """
    # scikit-learn takes a second to import and only this preparation needs it.
    from sklearn.covariance import ledoit_wolf

    draws = (half_a.astype(np.float64) - half_b.astype(np.float64)) * np.sqrt(counts[:, None] / 4.0)
    covariance, _ = ledoit_wolf(draws, assume_centered=True)
    return np.asarray(covariance)


def _inverse_deviation(within_std: np.ndarray) -> np.ndarray:
    typical = float(np.sqrt(np.square(within_std).mean()))
    if typical == 0.0:
        return np.ones_like(within_std)
    return 1.0 / np.maximum(within_std, DEAD * typical)


def _inverse_root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    floor = DEAD**2 * max(float(values.mean()), np.finfo(float).tiny)
    return (vectors / np.sqrt(np.maximum(values, floor))) @ vectors.T
