"""The prototype store: Parquet parts, one a shard, compacted into one file. Parquet is the truth."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.files import atomic_file, digest_value
from tasks.prototypes.gathering import ROWS, Source, gathered, vectors_of
from tasks.prototypes.statistics import Prototype

VECTORS = ("prototype", "half_a", "half_b", "within_std")
_TEXTS = ("name", "digest", "base_model", "revision", "layer", "pooling")
PLAIN = (*_TEXTS, "count", "standard_error")  # what else a prototype consists of


def schema(size: int) -> pa.Schema:
    """Columns of a store whose prototypes have `size` coordinates."""
    vector = pa.list_(pa.float32(), size)
    return pa.schema(
        [(name, pa.string()) for name in _TEXTS]
        + [("count", pa.int64())]
        + [(name, vector) for name in VECTORS[:3]]
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
            self._write_selected(pairs, final)
        for path in old:
            path.unlink()
        return final

    def _write_selected(self, pairs: list[tuple[str, str]], final: Path) -> None:
        """All but the vectors in memory; these go from the files they lie in to their places a batch at a time."""
        files = self._files()
        tables = [pq.read_table(path, columns=[*PLAIN, "created_at"]) for path in files]
        place = {
            digest: (file, row)
            for file, one in enumerate(tables)
            for row, digest in enumerate(one["digest"].to_pylist())
        }
        places = np.array([place[digest] for _, digest in pairs])
        starts = np.cumsum([0, *(len(one) for one in tables)])
        rest = pa.concat_tables(tables).take(starts[places[:, 0]] + places[:, 1])
        sources = [_source(files[file], file, places) for file in np.unique(places[:, 0])]
        columns = {name: gathered(name, sources, len(pairs), directory=self._directory) for name in VECTORS}
        shape = schema(columns[VECTORS[0]].type.list_size)
        columns |= {name: rest[name] for name in rest.column_names}
        columns["name"] = pa.array([name for name, _ in pairs], pa.string())
        _write(pa.table({name: columns[name] for name in shape.names}, schema=shape), final)

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("*.parquet"))


def table_of(prototypes: Sequence[Prototype], *, now: datetime) -> pa.Table:
    """Arrow table of prototypes with the store's columns."""
    size = len(prototypes[0].prototype)
    columns: dict[str, Any] = {name: [getattr(one, name) for one in prototypes] for name in (*_TEXTS, "count")}
    for name in VECTORS:
        flat = np.concatenate([np.asarray(getattr(one, name), np.float32) for one in prototypes])
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(flat), size)
    columns["standard_error"] = np.array([one.standard_error for one in prototypes], np.float32)
    columns["created_at"] = [now.astimezone(UTC)] * len(prototypes)
    shape = schema(size)
    return pa.table({name: columns[name] for name in shape.names}, schema=shape)


def prototypes_of(table: pa.Table) -> list[Prototype]:
    """The prototypes of a table with the store's columns."""
    texts = {name: table[name].to_pylist() for name in PLAIN}
    vectors = {name: matrix_of(table[name]) for name in VECTORS}
    return [
        Prototype(
            **{name: values[row] for name, values in texts.items()},
            **{name: matrix[row] for name, matrix in vectors.items()},
        )
        for row in range(table.num_rows)
    ]


def matrix_of(column: pa.ChunkedArray) -> np.ndarray:
    """A vector column as one float32 matrix (n, d); without a copy where it is one chunk."""
    return vectors_of(column.combine_chunks() if column.num_chunks != 1 else column.chunk(0))


def _source(path: Path, file: int, places: np.ndarray) -> Source:
    """What the file with this number gives to the places (n, 2) of file and row, in the order of its rows."""
    positions = np.flatnonzero(places[:, 0] == file)
    positions = positions[np.argsort(places[positions, 1], kind="stable")]
    return Source(path, places[positions, 1], positions)


def _write(table: pa.Table, final: Path) -> Path:
    with atomic_file(final) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROWS)
    return final
