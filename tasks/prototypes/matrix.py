"""The fast way into the store: an Arrow IPC copy of the compacted file that is mapped into memory, not read.

Parquet is the truth. The copy is keyed by the compacted file's own key and can be deleted at any time.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.files import atomic_file
from tasks.prototypes.gathering import Source, gathered, vectors_of
from tasks.prototypes.statistics import Prototype
from tasks.prototypes.store import PLAIN, VECTORS, prototypes_of, schema

_COLUMNS = [name for name in schema(1).names if name != "created_at"]


class MappedPrototypes(Mapping[str, Prototype]):
    """Prototypes by name, in the order of the rows: row i of `prototypes` (n, d) is that of the i-th name.

    The matrices are views into the mapped file: nothing is read before it is used, and all processes of a machine
    share one copy. A single prototype is made when it is asked for.
    """

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch

    def __getitem__(self, name: str) -> Prototype:
        return prototypes_of(pa.Table.from_batches([self._batch.slice(self._rows[name], 1)]))[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self._batch.column("name").to_pylist())}

    def between(self, start: int, stop: int) -> "MappedPrototypes":
        """Those of the rows from `start` to before `stop`."""
        return MappedPrototypes(self._batch.slice(start, stop - start))

    @property
    def digests(self) -> list[str]:
        """Their digests."""
        digests: list[str] = self._batch.column("digest").to_pylist()
        return digests

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many samples each rests on, (n,)."""
        return np.asarray(self._batch.column("count").to_numpy())

    @property
    def prototypes(self) -> NDArray[np.float32]:
        """The prototypes (n, d)."""
        return vectors_of(self._batch.column("prototype"))

    @property
    def half_a(self) -> NDArray[np.float32]:
        """The means of the samples at even positions (n, d)."""
        return vectors_of(self._batch.column("half_a"))

    @property
    def half_b(self) -> NDArray[np.float32]:
        """The means of the samples at odd positions (n, d)."""
        return vectors_of(self._batch.column("half_b"))

    @property
    def within_std(self) -> NDArray[np.float32]:
        """The samples' deviations within each task (n, d)."""
        return vectors_of(self._batch.column("within_std"))


def mapped(compacted: Path) -> MappedPrototypes:
    """The prototypes of the store's compacted Parquet file, memory-mapped; makes the copy where there is none."""
    # Readers of a directory of Parquet files (Arrow, Spark, pandas) pass over names that begin with an underscore.
    copy = compacted.with_name(f"_{compacted.stem}.arrow")
    if not copy.exists():
        _remove_older(copy)
        _write(_whole(compacted), copy)
    with pa.memory_map(str(copy)) as source:
        batch = pa.ipc.open_file(source).get_batch(0)
    return MappedPrototypes(batch)


def no_prototypes() -> MappedPrototypes:
    """What a store without any prototype holds."""
    return MappedPrototypes(pa.RecordBatch.from_pylist([], schema=schema(0)).select(_COLUMNS))


def _whole(compacted: Path) -> pa.RecordBatch:
    """All of a compacted file in one batch, its vectors on disk."""
    rest = pq.read_table(compacted, columns=list(PLAIN)).combine_chunks()
    every = Source(compacted, np.arange(len(rest)), np.arange(len(rest)))
    columns = {name: gathered(name, [every], len(rest), directory=compacted.parent) for name in VECTORS}
    columns |= {name: rest[name].combine_chunks() for name in PLAIN}
    return pa.RecordBatch.from_arrays([columns[name] for name in _COLUMNS], names=_COLUMNS)


def _write(batch: pa.RecordBatch, final: Path) -> None:
    # One record batch, so that a vector column is one contiguous block of the file; uncompressed, so that it is mapped.
    with atomic_file(final) as temporary, pa.ipc.new_file(str(temporary), batch.schema) as writer:
        writer.write_batch(batch)


def _remove_older(copy: Path) -> None:
    for old in copy.parent.glob("_compacted-*.arrow"):
        old.unlink()
