"""The prototype store: Parquet parts, one a shard, compacted into one file. Parquet is the truth."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.files import atomic_file, digest_value
from tasks.prototypes.statistics import Prototype

_VECTORS = ("prototype", "half_a", "half_b", "within_std")
_TEXTS = ("name", "digest", "base_model", "revision", "layer", "pooling")


def schema(size: int) -> pa.Schema:
    """Columns of a store whose prototypes have `size` coordinates."""
    vector = pa.list_(pa.float32(), size)
    return pa.schema(
        [(name, pa.string()) for name in _TEXTS]
        + [("count", pa.int64())]
        + [(name, vector) for name in _VECTORS[:3]]
        + [("standard_error", pa.float32()), ("within_std", vector), ("created_at", pa.timestamp("us", tz="UTC"))]
    )


class PrototypeStore:
    """The store in `directory`. Every file appears whole; a killed writer leaves the old state or the new one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def part_path(self, shard: str) -> Path:
        """Where the part of a shard lies."""
        return self._directory / f"part-{shard}.parquet"

    def digests(self) -> frozenset[str]:
        """Digests of all prototypes that are there."""
        return frozenset(
            digest for path in self._files() for digest in pq.read_table(path, columns=["digest"])["digest"].to_pylist()
        )

    def read(self) -> dict[str, Prototype]:
        """Prototypes by digest."""
        return {one.digest: one for path in self._files() for one in prototypes_of(pq.read_table(path))}

    def write_part(self, prototypes: Sequence[Prototype], shard: str, *, now: datetime) -> Path:
        """Write the prototypes of one shard atomically, all of one size."""
        return _write(table_of(prototypes, now=now), self.part_path(shard))

    def compact(self, keep: Iterable[tuple[str, str]]) -> Path | None:
        """Keep only these (name, digest) pairs, in this order and under these names, in one file.

        Pairs that the store does not have are left out; None where it has none of them, and then nothing is removed.
        The new file is whole before an old one goes. Does nothing when the one file there is already this one.
        """
        there = self.digests()
        pairs = [(name, digest) for name, digest in keep if digest in there]
        if not pairs:
            return None
        final = self._directory / f"compacted-{digest_value(pairs)}.parquet"
        old = [path for path in self._files() if path != final]
        if not final.exists():
            _write(self._selected(pairs), final)
        for path in old:
            path.unlink()
        return final

    def _selected(self, pairs: list[tuple[str, str]]) -> pa.Table:
        wanted = {digest for _, digest in pairs}
        tables = [pq.read_table(path) for path in self._files()]
        table = pa.concat_tables([table for table in tables if not wanted.isdisjoint(table["digest"].to_pylist())])
        row_of = {digest: row for row, digest in enumerate(table["digest"].to_pylist())}
        chosen = table.take([row_of[digest] for _, digest in pairs]).combine_chunks()
        return chosen.set_column(0, "name", pa.array([name for name, _ in pairs], pa.string()))

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("*.parquet"))


def table_of(prototypes: Sequence[Prototype], *, now: datetime) -> pa.Table:
    """Arrow table of prototypes with the store's columns."""
    size = len(prototypes[0].prototype)
    columns: dict[str, Any] = {name: [getattr(one, name) for one in prototypes] for name in (*_TEXTS, "count")}
    for name in _VECTORS:
        flat = np.concatenate([np.asarray(getattr(one, name), np.float32) for one in prototypes])
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(flat), size)
    columns["standard_error"] = np.array([one.standard_error for one in prototypes], np.float32)
    columns["created_at"] = [now.astimezone(UTC)] * len(prototypes)
    shape = schema(size)
    return pa.table({name: columns[name] for name in shape.names}, schema=shape)


def prototypes_of(table: pa.Table) -> list[Prototype]:
    """The prototypes of a table with the store's columns."""
    texts = {name: table[name].to_pylist() for name in (*_TEXTS, "count", "standard_error")}
    vectors = {name: matrix_of(table[name]) for name in _VECTORS}
    return [
        Prototype(
            **{name: values[row] for name, values in texts.items()},
            **{name: matrix[row] for name, matrix in vectors.items()},
        )
        for row in range(table.num_rows)
    ]


def matrix_of(column: pa.ChunkedArray) -> np.ndarray:
    """A vector column as one float32 matrix (n, d); without a copy where it is one chunk."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return np.asarray(array.flatten().to_numpy(zero_copy_only=True).reshape(len(array), column.type.list_size))


def _write(table: pa.Table, final: Path) -> Path:
    with atomic_file(final) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return final
