"""From the project file to entries: a list, a directory glob, or a CSV, Parquet or JSONL manifest."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from tasks.files import InvalidInput, Problem
from tasks.library.entries import Entry

_FIELDS = ("name", "adapter", "samples", "evaluation", "description")
_READERS: dict[str, Callable[[str], pa.Table]] = {
    ".csv": pyarrow.csv.read_csv,
    ".jsonl": pyarrow.json.read_json,
    ".ndjson": pyarrow.json.read_json,
    ".parquet": pyarrow.parquet.read_table,
}
_DATA_SUFFIXES = (".parquet", ".jsonl", ".csv", "")
_DESCRIPTION = "description.txt"


def discover(source: str | Sequence[Mapping[str, Any]], *, root: Path) -> tuple[Entry, ...]:
    """Entries of a `library` or `targets` value, in its own order (a glob's in order of name).

    Relative paths are relative to `root` (the project file's directory), those inside a manifest to the manifest.
    Nothing is opened but the manifest. Raises InvalidInput where the source cannot be understood at all.
    """
    if not isinstance(source, str):
        return _entries(source, root, "entry")
    path = root / source
    if path.suffix in _READERS and not any(sign in source for sign in "*?["):
        return _entries(_manifest_rows(path), path.parent, f"{path.name} row")
    return tuple(_entry_of_directory(directory) for directory in _directories(source, root))


def absolute(location: str, root: Path) -> str:
    """`location` itself when it is a URL, else the absolute path it means below `root`."""
    return location if "://" in location else str((root / Path(location).expanduser()).resolve())


def _entries(rows: Sequence[Mapping[str, Any]], root: Path, what: str) -> tuple[Entry, ...]:
    problems = [
        Problem(f"{what} {position + 1}", f"unknown key {key!r}", f"use only {', '.join(_FIELDS)}")
        for position, row in enumerate(rows)
        for key in row
        if key not in _FIELDS
    ]
    if problems:
        raise InvalidInput(*problems)
    return tuple(_entry(row, root) for row in rows)


def _entry(row: Mapping[str, Any], root: Path) -> Entry:
    def location(key: str) -> str | None:
        value = row.get(key)
        return None if value is None or value == "" else absolute(str(value), root)

    name, description = row.get("name"), row.get("description")
    return Entry(
        name="" if name is None else str(name),
        adapter=location("adapter"),
        samples=location("samples") or "",
        evaluation=location("evaluation"),
        description=str(description) if description else None,
    )


def _manifest_rows(path: Path) -> list[dict[str, Any]]:
    try:
        table = _READERS[path.suffix](str(path))
    except (OSError, pa.ArrowException) as error:
        raise InvalidInput(
            Problem(str(path), f"the manifest cannot be read ({error})", "correct or replace it")
        ) from error
    return [{key: value for key, value in row.items() if value is not None} for row in table.to_pylist()]


def _directories(source: str, root: Path) -> list[Path]:
    pattern = Path(source).expanduser()
    base, relative = (
        (Path(pattern.anchor), pattern.relative_to(pattern.anchor)) if pattern.is_absolute() else (root, pattern)
    )
    if (base / relative).is_dir():
        relative = relative / "*"
    found = sorted(path for path in base.glob(str(relative)) if path.is_dir() and not path.name.startswith("."))
    if not found:
        remedy = "give a list, a directory glob, or a .csv, .parquet or .jsonl manifest"
        raise InvalidInput(Problem(source, "no directory matches", remedy))
    return found


def _entry_of_directory(directory: Path) -> Entry:
    # One listing instead of a dozen questions: a library may have a hundred thousand directories.
    root, names = str(directory.resolve()), set(os.listdir(directory))
    return Entry(
        name=directory.name,
        adapter=_adapter_in(root, names),
        samples=_data(root, names, "samples") or f"{root}/samples.parquet",
        evaluation=_data(root, names, "evaluation"),
        description=_description_in(directory) if _DESCRIPTION in names else None,
    )


def _adapter_in(root: str, names: set[str]) -> str | None:
    if "adapter" in names:
        return f"{root}/adapter"
    return root if "adapter_config.json" in names else None


def _data(root: str, names: set[str], stem: str) -> str | None:
    return next((f"{root}/{stem}{suffix}" for suffix in _DATA_SUFFIXES if stem + suffix in names), None)


def _description_in(directory: Path) -> str | None:
    return (directory / _DESCRIPTION).read_text(encoding="utf-8").strip() or None
