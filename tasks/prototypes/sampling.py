"""Which of a task's samples are encoded, and in which rounds. Pure."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tasks.files import InvalidInput, Problem
from tasks.prototypes.settings import Capped, Sampling

LOOKED_AT = 1000  # references whose nearest one is looked for: the median of more is no other
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
    """Median distance of a prototype to its nearest other one, from an array (n, d); of at most LOOKED_AT of them.

    The scale that `UntilCertain.error` is a share of: a smaller error cannot change who is whose neighbour. Prototypes
    that coincide (siblings) count once. Raises InvalidInput where fewer than two are left.
    """
    values = np.asarray(prototypes, np.float64)
    values = np.unique(values, axis=0) if len(values) else values
    if len(values) < 2:
        problem = f"`auto` measures how far references lie apart, and there are {len(values)} prototypes that differ"
        raise InvalidInput(Problem("prototypes.max_samples", problem, "give a number, or leave it out"))
    values = values - values.mean(axis=0)  # takes nothing away from a distance and much from its rounding error
    norms = np.square(values).sum(axis=1)
    nearest = []
    for row in range(0, len(values), -(-len(values) // LOOKED_AT)):
        squared = norms + norms[row] - 2 * values @ values[row]
        squared[row] = np.inf
        nearest.append(max(float(squared.min()), 0.0))
    return float(np.median(np.sqrt(nearest)))
