"""Which of a task's samples are encoded, and in which rounds. Pure."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tasks.prototypes.settings import Capped, Sampling

Rows = NDArray[np.int64]


def rounds(count: int, sampling: Sampling) -> Iterator[Rows]:
    """Positions of the samples of each round, in file order; no sample comes twice.

    `Capped` has one round. `UntilCertain` doubles what was taken: `first`, `first`, 2 `first`, 4 `first`, ... until all
    `count` are used up; between two rounds the caller may stop.
    """
    order = np.random.default_rng(sampling.seed).permutation(count)
    if isinstance(sampling, Capped):
        yield np.sort(order[: sampling.count])
        return
    start, stop = 0, sampling.first
    while start < count:
        yield np.sort(order[start:stop])
        start, stop = stop, 2 * stop


def typical_distance(prototypes: NDArray[np.floating]) -> float:
    """Median distance of a prototype to its nearest other one, from an array (n, d) with n >= 2.

    The scale that `UntilCertain.error` is a share of: a smaller error cannot change who is whose neighbour.
    """
    values = np.asarray(prototypes, np.float64)
    values = values - values.mean(axis=0)  # takes nothing away from a distance and much from its rounding error
    norms = np.square(values).sum(axis=1)
    squared = np.maximum(norms[:, None] + norms[None, :] - 2 * values @ values.T, 0)
    np.fill_diagonal(squared, np.inf)
    return float(np.median(np.sqrt(squared.min(axis=1))))
