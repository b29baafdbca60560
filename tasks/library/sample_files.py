"""One streaming reader per file format. Each takes an open binary file or a path and yields record batches."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.json
import pyarrow.parquet

Batches = Iterator[pa.RecordBatch]
_BLOCK = 16 << 20  # bytes read together; a line must fit into it, and an image as numbers is a long line

Reader = Callable[[Any, Sequence[str] | None, int], Batches]


def read_parquet(file: Any, columns: Sequence[str] | None, batch_rows: int) -> Batches:
    """Row groups are read one at a time; only the named columns are decoded."""
    with pa.parquet.ParquetFile(file) as parquet:
        yield from parquet.iter_batches(batch_size=batch_rows, columns=None if columns is None else list(columns))


def read_csv(file: Any, columns: Sequence[str] | None, batch_rows: int) -> Batches:
    """CSV with a header line; values may hold quoted newlines."""
    reader = pa.csv.open_csv(
        file,
        read_options=pa.csv.ReadOptions(block_size=_BLOCK),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        # A text is text even where the first block holds digits alone.
        convert_options=pa.csv.ConvertOptions(column_types={"text": pa.string()}),
    )
    yield from _sliced(reader, columns, batch_rows)


def read_jsonl(file: Any, columns: Sequence[str] | None, batch_rows: int) -> Batches:
    """One JSON object a line."""
    yield from _sliced(
        pa.json.open_json(file, read_options=pa.json.ReadOptions(block_size=_BLOCK)), columns, batch_rows
    )


def read_arrow_stream(file: Any, columns: Sequence[str] | None, batch_rows: int) -> Batches:
    """Arrow IPC stream, the form in which Hugging Face `datasets` saves to disk."""
    with pa.ipc.open_stream(file) as reader:
        yield from _sliced(reader, columns, batch_rows)


def _sliced(batches: Any, columns: Sequence[str] | None, batch_rows: int) -> Batches:
    for batch in batches:
        chosen = batch if columns is None else batch.select(list(columns))
        for start in range(0, chosen.num_rows, batch_rows):
            yield chosen.slice(start, batch_rows)


READERS: dict[str, Reader] = {
    ".parquet": read_parquet,
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".arrow": read_arrow_stream,
}

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
