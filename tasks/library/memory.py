"""What a night remembers for the next: digests by file stamp, and the verdicts of validation by content."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from tasks.files import DigestCache, digest_file, digest_value, write_json

Stamp = tuple[int, int, int, str]  # size, mtime in ns, inode, digest
Verdict = tuple[tuple[str, str], ...]  # (problem, remedy) pairs; empty means sound


class NightlyDigests(DigestCache):
    """Digests that are taken once a night: what was validated is what the snapshot names, and ten thousand references
    are looked at once. The values are those of DigestCache.
    """

    def __init__(self, entries: dict[str, Stamp] | None = None) -> None:
        super().__init__(entries)
        self._before = entries or {}
        self._tonight: dict[str, str] = {}

    def tree(self, path: Path) -> str:
        """Digest of a file or directory, as it was when first asked for."""
        key = os.path.abspath(path)
        if key not in self._tonight:
            self._tonight[key] = self._flat_tree(key) or super().tree(path)
        return self._tonight[key]

    def file(self, path: Path) -> str:
        """Digest of one file, from memory when its stat is unchanged."""
        return self._stamped(os.path.abspath(path), path.stat())

    def _flat_tree(self, directory: str) -> str | None:
        # An adapter is three files in one directory; a general walk costs ten times as much as looking at them.
        if not os.path.isdir(directory):
            return None
        with os.scandir(directory) as found:
            files = sorted((item for item in found if not item.name.startswith(".")), key=lambda item: item.name)
        if any(item.is_dir() for item in files):
            return None
        return digest_value([[item.name, self._stamped(item.path, item.stat())] for item in files])

    def _stamped(self, key: str, stat: os.stat_result) -> str:
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        known = self._before.get(key)
        digest = known[3] if known is not None and known[:3] == stamp else digest_file(Path(key))
        self.entries[key] = (*stamp, digest)
        return digest


@dataclass(slots=True)
class Memory:
    """The digest cache of a workspace, and what was found when content of a digest was last examined.

    An aid, never the truth: losing it costs a second reading and nothing else.
    """

    digests: DigestCache = field(default_factory=NightlyDigests)
    known: dict[str, Verdict] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    shapes: dict[str, dict[str, tuple[int, ...]]] = field(default_factory=dict)  # by base model digest, by module

    def recall(self, key: str) -> Verdict | None:
        """The verdict under `key` if there is one; it is then kept for the next night."""
        verdict = self.known.get(key)
        if verdict is not None:
            self.verdicts[key] = verdict
        return verdict

    def learn(self, key: str, verdict: Verdict) -> Verdict:
        """Keep `verdict` under `key`, and give it back."""
        self.known[key] = self.verdicts[key] = verdict
        return verdict


def load_memory(path: Path) -> Memory:
    """The memory saved at `path`; an empty one where there is none or it does not parse."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        digests = {key: (int(s), int(m), int(i), str(d)) for key, (s, m, i, d) in content["digests"].items()}
        shapes = {
            base: {module: tuple(int(n) for n in shape) for module, shape in modules.items()}
            for base, modules in content["shapes"].items()
        }
        known = {key: tuple((str(p), str(r)) for p, r in pairs) for key, pairs in content["verdicts"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Memory()
    return Memory(NightlyDigests(digests), known, shapes=shapes)


def save_memory(path: Path, memory: Memory) -> None:
    """Save what was used since `memory` was loaded, atomically; what nobody asked for is forgotten."""
    verdicts = {key: [list(pair) for pair in verdict] for key, verdict in memory.verdicts.items()}
    write_json(path, {"digests": memory.digests.entries, "verdicts": verdicts, "shapes": memory.shapes})
