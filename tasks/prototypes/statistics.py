"""The prototype of a task and the statistics that say how far to trust it. Values only, without torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the embeddings of one task say; every array has shape (d,) and type float32."""

    count: int
    prototype: NDArray[np.float32]
    half_a: NDArray[np.float32]
    half_b: NDArray[np.float32]
    standard_error: float
    within_std: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Prototype:
    """A task's prototype with its provenance; every array has shape (d,) and type float32.

    `half_a` and `half_b` are the means of the samples at even and at odd positions. `within_std` is the samples'
    deviation per coordinate, `standard_error` the expected length of the prototype's own error:
    sqrt(trace of the within-task covariance / count).
    """

    name: str
    digest: str
    base_model: str
    revision: str
    layer: str
    pooling: str
    count: int
    prototype: NDArray[np.float32]
    half_a: NDArray[np.float32]
    half_b: NDArray[np.float32]
    standard_error: float
    within_std: NDArray[np.float32]
