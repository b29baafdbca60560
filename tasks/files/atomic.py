"""Files that are either wholly there or not there: write beside, fsync, rename."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _beside(final: Path) -> Path:
    # The leading dot keeps readers that glob (`*.parquet`) away from a file in the making.
    return final.parent / f".{final.name}.{uuid.uuid4().hex}.tmp"


def _sync_file(path: Path) -> None:
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


@contextmanager
def atomic_file(final: Path) -> Iterator[Path]:
    """Yield a temporary path to write; on success it becomes `final`, on any error nothing appears."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(final)
    try:
        yield temporary
        _sync_file(temporary)
        os.replace(temporary, final)
        _sync_directory(final.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(final: Path) -> Iterator[Path]:
    """Yield a temporary directory to fill; on success it becomes `final`.

    `final` is meant to be content-addressed: where it exists already, the new copy is dropped and the old one kept.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(final)
    temporary.mkdir()
    try:
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                _sync_file(path)
        if not final.exists():
            os.rename(temporary, final)
            _sync_directory(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(final: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys, atomically."""
    with atomic_file(final) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
