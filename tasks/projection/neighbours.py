"""Exact nearest references of many targets, in bounded memory, with ties broken by name."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Neighbourhoods:
    """The k nearest references of each of t targets: indices (t, k) and squared_distances (t, k), nearest first."""

    indices: np.ndarray
    squared_distances: np.ndarray


def nearest(library: np.ndarray, names: Sequence[str], targets: np.ndarray, *, count: int) -> Neighbourhoods:
    """The `count` (at most n) references of `library` (n, d) nearest to each of `targets` (t, d); ties by name."""
    count = min(count, len(library))
    squared = np.stack([np.square(library.astype(np.float64) - t).sum(axis=1) for t in targets.astype(np.float64)])
    by_name = np.argsort(np.asarray(names), kind="stable")
    order = by_name[np.argsort(squared[:, by_name], axis=1, kind="stable")[:, :count]]
    return Neighbourhoods(order, np.take_along_axis(squared, order, axis=1))
