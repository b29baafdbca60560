"""The fast way into the store: an Arrow IPC copy of the compacted file that is mapped into memory, not read.

Parquet is the truth. The copy is keyed by the compacted file's own key and can be deleted at any time.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.files import atomic_file

_COLUMNS = ["name", "digest", "count", "standard_error", "prototype", "within_std"]


@dataclass(frozen=True, slots=True)
class PrototypeMatrix:
    """All prototypes of a compacted store, in its order: row i of `prototypes` (n, d) is that of `names[i]`.

    The two matrices are views into the mapped file: nothing is read before it is used, and all processes of a machine
    share one copy.
    """

    names: pa.Array
    digests: pa.Array
    counts: NDArray[np.int64]
    standard_errors: NDArray[np.float32]
    prototypes: NDArray[np.float32]
    within_std: NDArray[np.float32]


def mapped(compacted: Path) -> PrototypeMatrix:
    """The prototypes of the store's compacted Parquet file, memory-mapped; makes the copy where there is none."""
    copy = compacted.with_suffix(".arrow")
    if not copy.exists():
        _remove_older(copy)
        _write(pq.read_table(compacted, columns=_COLUMNS), copy)
    with pa.memory_map(str(copy)) as source:
        batch = pa.ipc.open_file(source).get_batch(0)
    return PrototypeMatrix(
        names=batch.column("name"),
        digests=batch.column("digest"),
        counts=batch.column("count").to_numpy(),
        standard_errors=batch.column("standard_error").to_numpy(),
        prototypes=_view(batch.column("prototype")),
        within_std=_view(batch.column("within_std")),
    )


def _write(table: pa.Table, final: Path) -> None:
    # One record batch, so that a vector column is one contiguous block of the file; uncompressed, so that it is mapped.
    (batch,) = table.combine_chunks().to_batches()
    with atomic_file(final) as temporary, pa.ipc.new_file(str(temporary), batch.schema) as writer:
        writer.write_batch(batch)


def _view(vectors: pa.FixedSizeListArray) -> NDArray[np.float32]:
    flat = vectors.flatten().to_numpy(zero_copy_only=True)
    return np.asarray(flat.reshape(len(vectors), vectors.type.list_size))


def _remove_older(copy: Path) -> None:
    for old in copy.parent.glob("compacted-*.arrow"):
        old.unlink()
