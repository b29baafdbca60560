"""Exact nearest references of many targets, in bounded memory, with ties broken by name.

A block of the (memory-mapped) library is multiplied with the targets in float32; a running threshold for each target
lets only a few candidates of each block through. Candidates that float32 cannot tell apart are measured again by
products in float64, and what these cannot tell apart by coordinates, so the result is the exact one. The library is
never prepared itself: its transform is folded into the targets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.projection.preparation import Transform

LIBRARY_BLOCK = 8192  # references in one product: 32 MB of float32 at d = 1024
TARGET_BLOCK = 256
REMEASURED = 64  # candidates measured again at a time: half a megabyte of float64 at d = 1024
GROUPS = 256  # disjoint groups of the first block whose minima bound the count-th smallest distance from above
TRIMMED = 2  # times as many candidates as are wanted are sorted and cut: oftener costs more than it keeps out
UNIT_ROUNDOFF = 2.0**-24  # of float32
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
    """A block of targets, prepared (t, d) float32, and as factors (t, d) of the products with raw references.

    exact, narrow: the factors in float64 and float32; constants (t,): what the transform's centre adds; own (t,):
    squared lengths; rounding (t,): error of one float32 product per raw length of a reference.
    """

    prepared: np.ndarray
    exact: np.ndarray
    narrow: np.ndarray
    constants: np.ndarray
    own: np.ndarray
    rounding: np.ndarray

    @classmethod
    def of(cls, targets: np.ndarray, transform: Transform) -> "_Queries":
        prepared = transform(targets)
        exact = transform.query(prepared)
        exact *= -2.0
        own = np.einsum("td,td->t", prepared, prepared, dtype=np.float64)
        lengths = np.sqrt(np.einsum("td,td->t", exact, exact))
        rounding = CONFIDENCE * np.sqrt(targets.shape[1]) * UNIT_ROUNDOFF * lengths
        return cls(prepared, exact, exact.astype(np.float32), -(exact @ transform.centre), own, rounding)


def _nearest_of_block(
    library: np.ndarray, index: LibraryIndex, queries: _Queries, transform: Transform, count: int
) -> Neighbourhoods:
    scale = _scales(index.squares, transform)
    slack = 2.0 * _rounding(queries, index, scale)
    found = _Candidates.none()
    limits = np.full(len(queries.prepared), np.inf)
    buffer = np.empty((len(queries.prepared), min(LIBRARY_BLOCK, len(library))), dtype=np.float32)
    for first in range(0, len(library), LIBRARY_BLOCK):
        block = np.asarray(library[first : first + LIBRARY_BLOCK])
        scores = buffer[:, : len(block)]
        np.matmul(queries.narrow, block.T, out=scores)
        _finish_scores(scores, index.squares[first : first + len(block)], scale, first, queries.constants)
        if first == 0:
            limits = _first_limits(scores, count) + slack
        rows, columns = _at_most(scores, limits)
        found = found.joined(rows, columns + first, scores[rows, columns].astype(np.float64))
        if len(found.rows) > TRIMMED * count * len(limits):
            found, limits = found.trimmed(count, slack, limits)
    found, _ = found.trimmed(count, slack, limits)
    return _exact_order(library, index, queries, transform, found, slack).nearest(count, len(limits))


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
    scores: np.ndarray, squares: np.ndarray, scale: np.ndarray | None, first: int, constants: np.ndarray
) -> None:
    """From -2 x . q to the squared distance less the target's own square, in place."""
    if scale is None:
        scores += squares.astype(np.float32)
        return
    scores += constants.astype(np.float32)[:, None]
    scores *= scale[first : first + scores.shape[1]].astype(np.float32)
    scores += (squares > 0.0).astype(np.float32)


def _at_most(scores: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the scores (t, m), float32, that are at most their row's limit (t,), or hardly above it.

    The limits are rounded up to float32 instead of all scores widened, and the mask is searched flat: numpy takes six
    times as long to search two dimensions.
    """
    wide = np.nextafter(limits.astype(np.float32), np.float32(np.inf))
    return np.divmod(np.flatnonzero(scores <= wide[:, None]), scores.shape[1])


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

    @classmethod
    def none(cls) -> "_Candidates":
        empty = np.empty(0, dtype=np.int64)
        return cls(empty, empty, np.empty(0))

    def joined(self, rows: np.ndarray, references: np.ndarray, scores: np.ndarray) -> "_Candidates":
        return _Candidates(
            np.concatenate([self.rows, rows]),
            np.concatenate([self.references, references]),
            np.concatenate([self.scores, scores]),
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
        return _Candidates(rows[keep], self.references[order][keep], scores[keep]), limits

    def undecided(self, slack: np.ndarray) -> np.ndarray:
        """Positions of what is no further than `slack` (as many as candidates) from its neighbour, or from zero."""
        close = (np.diff(self.scores) <= slack[1:]) & (self.rows[1:] == self.rows[:-1])
        doubtful = self.scores <= slack
        doubtful[1:] |= close
        doubtful[:-1] |= close
        return np.flatnonzero(doubtful)

    def settled(self, at: np.ndarray, scores: np.ndarray, ranks: np.ndarray) -> "_Candidates":
        """With better scores at the positions `at`, in order again: what was undecided moves only among itself."""
        order = np.lexsort((ranks[self.references[at]], scores, self.rows[at]))
        references, new = self.references.copy(), self.scores.copy()
        references[at], new[at] = references[at[order]], scores[order]
        return _Candidates(self.rows, references, new)

    def nearest(self, count: int, targets: int) -> Neighbourhoods:
        """The first `count` of each target."""
        take = np.searchsorted(self.rows, np.arange(targets))[:, None] + np.arange(count)
        return Neighbourhoods(self.references[take], self.scores[take])


def _exact_order(
    library: np.ndarray,
    index: LibraryIndex,
    queries: _Queries,
    transform: Transform,
    found: _Candidates,
    slack: np.ndarray,
) -> _Candidates:
    """Squared distances for scores, those that float32 cannot order measured again."""
    offset = queries.own if transform.unit else queries.own + queries.constants
    found = _Candidates(found.rows, found.references, np.maximum(found.scores + offset[found.rows], 0.0))
    at = found.undecided(slack[found.rows])
    products = _by_products(library, index, queries, transform, found.rows[at], found.references[at])
    found = found.settled(at, products, index.ranks)
    # A distance is that of prepared vectors, which float32 has rounded coordinate by coordinate.
    distances, lengths = np.sqrt(found.scores), np.sqrt(queries.own)[found.rows]
    rounded = 4.0 * UNIT_ROUNDOFF * distances * (lengths + distances)
    at = found.undecided(rounded + UNIT_ROUNDOFF * slack[found.rows])
    coordinates = _by_coordinates(library, queries, transform, found.rows[at], found.references[at])
    return found.settled(at, coordinates, index.ranks)


def _by_products(
    library: np.ndarray,
    index: LibraryIndex,
    queries: _Queries,
    transform: Transform,
    rows: np.ndarray,
    references: np.ndarray,
) -> np.ndarray:
    """Squared distances (m,) of targets and references in pairs, by float64 products with the raw references."""
    out = np.empty(len(rows))
    for first in range(0, len(rows), REMEASURED):
        some = slice(first, first + REMEASURED)
        raw = library[references[some]].astype(np.float64)
        out[some] = np.einsum("md,md->m", raw, queries.exact[rows[some]])
    out += queries.constants[rows]
    squares = index.squares[references]
    scale = _scales(squares, transform)
    if scale is not None:
        out *= scale
        squares = (squares > 0.0).astype(np.float64)
    return np.maximum(out + squares + queries.own[rows], 0.0)


def _by_coordinates(
    library: np.ndarray, queries: _Queries, transform: Transform, rows: np.ndarray, references: np.ndarray
) -> np.ndarray:
    """The same from the differences of their coordinates, exactly zero for a copy."""
    out = np.empty(len(rows))
    for first in range(0, len(rows), REMEASURED):
        some = slice(first, first + REMEASURED)
        apart = np.subtract(transform(library[references[some]]), queries.prepared[rows[some]], dtype=np.float64)
        out[some] = np.einsum("md,md->m", apart, apart)
    return out
