"""Samples of a task, streamed from wherever they lie: files, image folders, `datasets` directories, any fsspec URL."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from tasks.files import DigestCache, InvalidInput, Problem, digest_value
from tasks.library.sample_files import IMAGE_SUFFIXES, READERS, Reader

_REMEDY = "give .parquet, .jsonl, .csv, a folder of images or a saved `datasets` directory"
_READ_ERRORS = (OSError, ValueError, pa.ArrowException, KeyError)


def iter_samples(uri: str, *, columns: Sequence[str] | None, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Record batches of at most `batch_rows` rows, in file order; `columns` None means all. One block is in memory.

    Raises InvalidInput, naming the file, when it is missing, unreadable or without one of the columns.
    """
    try:
        for file, reader in _files(uri):
            if reader is None:
                yield from _image_batches(file, batch_rows)
            else:
                with _opened(file) as handle:
                    yield from reader(handle, columns, batch_rows)
    except InvalidInput:
        raise
    except FileNotFoundError as error:
        raise InvalidInput(Problem(uri, "there is no such file", "correct the path")) from error
    except _READ_ERRORS as error:
        raise InvalidInput(Problem(uri, f"it cannot be read ({error})", "replace the file")) from error


def columns_of(uri: str) -> tuple[str, ...]:
    """Names of the sample columns; empty where there is no row at all. Raises InvalidInput."""
    first = next(iter_samples(uri, columns=None, batch_rows=1), None)
    return () if first is None else tuple(first.schema.names)


def count_rows(uri: str) -> int:
    """Number of samples; from the metadata for Parquet, from a pass over the file elsewhere. Raises InvalidInput."""
    if uri.endswith(".parquet") and Path(uri).is_file():
        try:
            return int(pa.parquet.read_metadata(uri).num_rows)
        except _READ_ERRORS as error:
            raise InvalidInput(Problem(uri, f"it cannot be read ({error})", "replace the file")) from error
    return sum(batch.num_rows for batch in iter_samples(uri, columns=None, batch_rows=4096))


def digest_of(uri: str, cache: DigestCache) -> str:
    """Content digest of local samples; of a URL, the identity its file system gives (checksum, size, time).

    Raises OSError where nothing is there.
    """
    if "://" not in uri:
        if not Path(uri).exists():
            raise FileNotFoundError(uri)
        return cache.tree(Path(uri))
    import fsspec

    system, path = fsspec.core.url_to_fs(uri)
    files = sorted(system.find(path))
    if not files:
        raise FileNotFoundError(uri)
    return digest_value([[file, str(system.ukey(file))] for file in files])


def _files(uri: str) -> Iterator[tuple[str, Reader | None]]:
    """The files behind `uri` with their readers; the reader None stands for a folder of images."""
    path = Path(uri)
    if "://" not in uri and path.is_dir():
        yield from _directory_files(path)
        return
    suffix = path.suffixes[-2] if path.suffix in (".gz", ".zst", ".bz2") and len(path.suffixes) > 1 else path.suffix
    if suffix not in READERS:
        raise InvalidInput(Problem(uri, f"samples cannot be read from {suffix or 'a file without suffix'}", _REMEDY))
    yield uri, READERS[suffix]


def _directory_files(path: Path) -> Iterator[tuple[str, Reader | None]]:
    if (path / "state.json").is_file():
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        yield from ((str(path / item["filename"]), READERS[".arrow"]) for item in state["_data_files"])
        return
    if (path / "dataset_dict.json").is_file():
        raise InvalidInput(
            Problem(str(path), "the `datasets` directory has several splits", "name one split's directory")
        )
    tables = sorted(file for file in path.rglob("*") if file.suffix in READERS and not file.name.startswith("."))
    if tables:
        yield from ((str(file), READERS[file.suffix]) for file in tables)
    elif _image_paths(path):
        yield str(path), None
    else:
        raise InvalidInput(Problem(str(path), "the directory holds no samples", _REMEDY))


def _image_paths(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)


def _image_batches(folder: str, batch_rows: int) -> Iterator[pa.RecordBatch]:
    found = _image_paths(Path(folder))
    for start in range(0, len(found), batch_rows):
        paths = found[start : start + batch_rows]
        images = pa.array([path.read_bytes() for path in paths], pa.binary())
        names = pa.array([path.relative_to(folder).as_posix() for path in paths])
        yield pa.RecordBatch.from_arrays([images, names], names=["image", "file"])


def _opened(uri: str) -> Any:
    if "://" not in uri:
        return pa.input_stream(uri) if Path(uri).suffix != ".parquet" else pa.OSFile(uri)
    import fsspec

    return fsspec.open(uri, "rb", compression="infer").open()
