"""Exact nearest references of many targets, in bounded memory, with ties broken by name.

A block of the (memory-mapped) library is multiplied with the targets in float32; a running threshold for each target
lets only a few candidates of each block through. Candidates that float32 cannot tell apart are measured again in
float64, so the result is the exact one. The library is never prepared itself: its transform is folded into the targets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.projection.preparation import Transform

LIBRARY_BLOCK = 8192  # references in one product: 32 MB of float32 at d = 1024
TARGET_BLOCK = 256
REMEASURED = 64  # candidates measured again at a time: half a megabyte of float64 at d = 1024
GROUPS = 256  # disjoint groups of the first block whose minima bound the count-th smallest distance from above
# Rounding of a d-term float32 product exceeds CONFIDENCE sqrt(d) u |x||y| with probability e^-18 (Higham and Mary, "A
# new approach to probabilistic rounding error analysis", 2019).
CONFIDENCE = 6.0


@dataclass(frozen=True, slots=True)
class Neighbourhoods:
    """The k nearest references of each of t targets: indices (t, k) and squared_distances (t, k), nearest first.

    Distances are exact to float32 rounding of the products; the order is exact.
    """

    indices: np.ndarray
    squared_distances: np.ndarray


@dataclass(frozen=True, slots=True)
class LibraryIndex:
    """What retrieval needs of a library beside its matrix: (n,) each, computed once per snapshot and transform.

    squares: squared lengths of the linearly transformed prototypes; lengths: raw lengths about nothing, which bound
    rounding; ranks: position of each name in sorted order.
    """

    squares: np.ndarray
    lengths: np.ndarray
    ranks: np.ndarray


def index_library(library: np.ndarray, names: Sequence[str], transform: Transform) -> LibraryIndex:
    """Index a library (n, d), a block at a time."""
    squares, lengths = np.empty(len(library)), np.empty(len(library))
    for first in range(0, len(library), LIBRARY_BLOCK):
        block = np.asarray(library[first : first + LIBRARY_BLOCK])
        rows = slice(first, first + len(block))
        squares[rows] = np.square(transform.linear(block)).sum(axis=1)
        lengths[rows] = np.sqrt(np.einsum("nd,nd->n", block, block, dtype=np.float64))
    ranks = np.empty(len(library), dtype=np.int64)
    ranks[np.argsort(np.asarray(names), kind="stable")] = np.arange(len(library))
    return LibraryIndex(squares, lengths, ranks)


def nearest(library: np.ndarray, names: Sequence[str], targets: np.ndarray, *, count: int) -> Neighbourhoods:
    """The `count` (at most n) references of `library` (n, d) nearest to each of `targets` (t, d), as they are."""
    d = library.shape[1]
    # Distances do not depend on the origin, and rounding is smallest about the targets' own mean.
    as_is = Transform(targets.astype(np.float64).mean(axis=0), np.ones(d), None, False)
    return nearest_prepared(library, index_library(library, names, as_is), targets, transform=as_is, count=count)


def nearest_prepared(
    library: np.ndarray, index: LibraryIndex, targets: np.ndarray, *, transform: Transform, count: int
) -> Neighbourhoods:
    """The same under a transform: `library` (n, d) and `targets` (t, d) come raw, distances are of prepared ones."""
    count = min(count, len(library))
    parts = []
    for first in range(0, len(targets), TARGET_BLOCK):
        block = targets[first : first + TARGET_BLOCK]
        parts.append(_nearest_of_block(library, index, _Queries.of(block, transform), transform, count))
    return Neighbourhoods(
        np.concatenate([part.indices for part in parts]), np.concatenate([part.squared_distances for part in parts])
    )


def merge_partitions(parts: Sequence[Neighbourhoods], ranks: np.ndarray, *, count: int) -> Neighbourhoods:
    """Join the nearest of several partitions of a library (indices already global), each computed where it lies."""
    indices = np.concatenate([part.indices for part in parts], axis=1)
    distances = np.concatenate([part.squared_distances for part in parts], axis=1)
    order = np.lexsort((ranks[indices], distances), axis=1)[:, :count]
    return Neighbourhoods(np.take_along_axis(indices, order, 1), np.take_along_axis(distances, order, 1))


@dataclass(frozen=True, slots=True)
class _Queries:
    """A block of targets, prepared (t, d), and as factors (t, d) float32 of the products with raw references.

    constants (t,): what the transform's centre adds; rounding (t,): error of one product per raw length of a reference.
    """

    prepared: np.ndarray
    products: np.ndarray
    constants: np.ndarray
    rounding: np.ndarray

    @classmethod
    def of(cls, targets: np.ndarray, transform: Transform) -> "_Queries":
        prepared = transform(targets)
        exact = transform.query(prepared)
        unit_roundoff = 2.0**-24
        rounding = CONFIDENCE * np.sqrt(targets.shape[1]) * unit_roundoff * np.linalg.norm(exact, axis=1) * 2.0
        return cls(prepared, (-2.0 * exact).astype(np.float32), 2.0 * exact @ transform.centre, rounding)


def _nearest_of_block(
    library: np.ndarray, index: LibraryIndex, queries: _Queries, transform: Transform, count: int
) -> Neighbourhoods:
    scale = _scales(index.squares, transform)
    slack = 2.0 * _rounding(queries, index, scale)
    found = _Candidates.none(len(queries.prepared))
    limits = np.full(len(queries.prepared), np.inf)
    buffer = np.empty((len(queries.prepared), min(LIBRARY_BLOCK, len(library))), dtype=np.float32)
    for first in range(0, len(library), LIBRARY_BLOCK):
        block = np.asarray(library[first : first + LIBRARY_BLOCK])
        scores = buffer[:, : len(block)]
        np.matmul(queries.products, block.T, out=scores)
        _finish_scores(scores, index.squares[first : first + len(block)], scale, first, queries.constants, transform)
        if first == 0:
            limits = _first_limits(scores, count) + slack
        rows, columns = np.nonzero(scores <= limits[:, None])
        found = found.joined(rows, columns + first, scores[rows, columns].astype(np.float64))
        found, limits = found.trimmed(count, slack, limits)
    return _exact_order(library, index, queries, transform, found, slack, count)


def _scales(squares: np.ndarray, transform: Transform) -> np.ndarray | None:
    """What a unit transform divides by, (n,), None without one."""
    if not transform.unit:
        return None
    lengths = np.sqrt(squares)
    return 1.0 / np.where(lengths > 0.0, lengths, 1.0)


def _rounding(queries: _Queries, index: LibraryIndex, scale: np.ndarray | None) -> np.ndarray:
    """Upper bound (t,) on the float32 error of any score."""
    reach = index.lengths if scale is None else index.lengths * scale
    top = 1.0 if scale is not None else float(index.squares.max(initial=0.0))
    return queries.rounding * float(reach.max(initial=0.0)) + 2.0**-22 * (top + np.abs(queries.constants))


def _finish_scores(
    scores: np.ndarray,
    squares: np.ndarray,
    scale: np.ndarray | None,
    first: int,
    constants: np.ndarray,
    transform: Transform,
) -> None:
    """From -2 x . q to the squared distance less the target's own square, in place."""
    if scale is None:
        scores += squares.astype(np.float32)
        return
    scores += constants.astype(np.float32)[:, None]
    scores *= scale[first : first + scores.shape[1]].astype(np.float32)
    scores += (squares > 0.0).astype(np.float32)


def _first_limits(scores: np.ndarray, count: int) -> np.ndarray:
    """An upper bound (t,) on the count-th smallest score: the count-th smallest of the minima of disjoint groups."""
    groups = max(GROUPS, 4 * count)
    depth = scores.shape[1] // groups
    if depth < 2:
        return np.full(len(scores), np.inf)
    minima = scores[:, : groups * depth].reshape(len(scores), depth, groups).min(axis=1)
    return np.partition(minima, count - 1, axis=1)[:, count - 1].astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Surviving (target row, reference, score) triples, sorted by row and score once trimmed."""

    rows: np.ndarray
    references: np.ndarray
    scores: np.ndarray
    starts: np.ndarray  # (t + 1,) where each row's candidates begin, valid once trimmed

    @classmethod
    def none(cls, targets: int) -> "_Candidates":
        empty = np.empty(0, dtype=np.int64)
        return cls(empty, empty, np.empty(0), np.zeros(targets + 1, dtype=np.int64))

    def joined(self, rows: np.ndarray, references: np.ndarray, scores: np.ndarray) -> "_Candidates":
        return _Candidates(
            np.concatenate([self.rows, rows]),
            np.concatenate([self.references, references]),
            np.concatenate([self.scores, scores]),
            self.starts,
        )

    def trimmed(self, count: int, slack: np.ndarray, limits: np.ndarray) -> tuple["_Candidates", np.ndarray]:
        """Drop what cannot be among the `count` nearest any more; returns the new limits (t,) too."""
        order = np.lexsort((self.scores, self.rows))
        rows, scores = self.rows[order], self.scores[order]
        starts = np.searchsorted(rows, np.arange(len(limits) + 1))
        last = starts[:-1] + count - 1
        full = last < starts[1:]
        limits = np.minimum(limits, np.where(full, scores[np.minimum(last, len(scores) - 1)] + slack, np.inf))
        keep = scores <= limits[rows]
        rows = rows[keep]
        starts = np.searchsorted(rows, np.arange(len(limits) + 1))
        return _Candidates(rows, self.references[order][keep], scores[keep], starts), limits


def _exact_order(
    library: np.ndarray,
    index: LibraryIndex,
    queries: _Queries,
    transform: Transform,
    found: _Candidates,
    slack: np.ndarray,
    count: int,
) -> Neighbourhoods:
    """Measure again what float32 cannot order, and cut to the `count` nearest."""
    own = np.square(queries.prepared.astype(np.float64)).sum(axis=1)
    offset = own if transform.unit else own + queries.constants
    distances = np.maximum(found.scores + offset[found.rows], 0.0)
    close = np.diff(found.scores) <= slack[found.rows[1:]]
    close &= found.rows[1:] == found.rows[:-1]
    doubtful = distances <= 2.0 * slack[found.rows]
    doubtful[1:] |= close
    doubtful[:-1] |= close
    again = np.flatnonzero(doubtful)
    for first in range(0, len(again), REMEASURED):
        some = again[first : first + REMEASURED]
        atoms = transform(library[found.references[some]]).astype(np.float64)
        distances[some] = np.square(atoms - queries.prepared[found.rows[some]]).sum(axis=1)
    order = np.lexsort((index.ranks[found.references], distances, found.rows))
    take = order[found.starts[:-1, None] + np.arange(count)]
    return Neighbourhoods(found.references[take], distances[take])
