"""Vector columns of Parquet files brought into one order, on disk: memory holds one batch at a time."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

ROWS = 4096  # of a batch that is read, and of a row group that is written: 16 MB a column at 1,024 coordinates


@dataclass(frozen=True, slots=True)
class Source:
    """Which rows of a Parquet file are wanted, ascending (m,), and the positions (m,) that they get."""

    path: Path
    rows: NDArray[np.int64]
    positions: NDArray[np.int64]


def gathered(name: str, sources: Sequence[Source], count: int, *, directory: Path) -> pa.FixedSizeListArray:
    """Vector column `name` (count, d), float32, every position of which some source fills.

    The array is a mapping of a file without a name in `directory`: its pages are the system's to keep or to write out,
    and the file is gone with the array, or with the process.
    """
    size = pq.read_schema(sources[0].path).field(name).type.list_size
    with tempfile.TemporaryFile(dir=directory) as nameless:
        matrix = np.memmap(nameless, np.float32, mode="w+", shape=(count, size))
    for source in sources:
        start = 0
        for batch in _batches(source.path, name):
            first, last = np.searchsorted(source.rows, (start, start + len(batch)))
            matrix[source.positions[first:last]] = vectors_of(batch)[source.rows[first:last] - start]
            start += len(batch)
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), size)


def _batches(path: Path, name: str) -> Iterator[pa.FixedSizeListArray]:
    # One row group at a time: asked for all of them, Arrow holds the whole column.
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(batch_size=ROWS, row_groups=[group], columns=[name]):
                yield batch.column(0)


def vectors_of(column: pa.FixedSizeListArray) -> NDArray[np.float32]:
    """A vector column as one float32 matrix (n, d), without a copy."""
    flat = column.flatten().to_numpy(zero_copy_only=True)
    return np.asarray(flat.reshape(len(column), column.type.list_size))
