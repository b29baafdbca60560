"""Content digests: BLAKE2b over bytes, in a form that is stable across machines and Python versions."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_SIZE = 16  # bytes; 128 bits are far beyond accidental collision for any library
_CHUNK = 1 << 20


def digest_bytes(*parts: bytes) -> str:
    """Digest of the parts in order; each is length-prefixed, so that no two lists of parts share one."""
    state = hashlib.blake2b(digest_size=_SIZE)
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.hexdigest()


def digest_value(value: Any) -> str:
    """Digest of a JSON-serialisable value; mapping order does not matter, NaN is refused."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return digest_bytes(canonical.encode())


def digest_file(path: Path) -> str:
    """Digest of a file's bytes, read in chunks."""
    state = hashlib.blake2b(digest_size=_SIZE)
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def _visible_files(root: Path) -> Iterable[Path]:
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


class DigestCache:
    """Digests remembered by (size, mtime, inode), as a version-control index does: a night reads only what changed.

    The cache is an aid, never the truth: losing it costs a re-read and nothing else.
    """

    def __init__(self, entries: dict[str, tuple[int, int, int, str]] | None = None) -> None:
        self._old = entries or {}
        self.entries: dict[str, tuple[int, int, int, str]] = {}

    def file(self, path: Path) -> str:
        """Digest of one file, from memory when its stat is unchanged."""
        stat = path.stat()
        key = str(path.resolve())
        known = self._old.get(key)
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        digest = known[3] if known is not None and tuple(known[:3]) == stamp else digest_file(path)
        self.entries[key] = (*stamp, digest)
        return digest

    def tree(self, path: Path) -> str:
        """Digest of a file, or of every visible file below a directory together with its relative name."""
        if path.is_file():
            return self.file(path)
        return digest_value([[file.relative_to(path).as_posix(), self.file(file)] for file in _visible_files(path)])


def digest_tree(path: Path) -> str:
    """`DigestCache.tree` without a memory."""
    return DigestCache().tree(path)
