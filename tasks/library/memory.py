"""What a night remembers for the next: digests by file stamp, and the verdicts of validation by content."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from tasks.files import DigestCache, write_json

Verdict = tuple[tuple[str, str], ...]  # (problem, remedy) pairs; empty means sound


@dataclass(slots=True)
class Memory:
    """The digest cache of a workspace, and what was found when content of a digest was last examined.

    An aid, never the truth: losing it costs a second reading and nothing else.
    """

    digests: DigestCache = field(default_factory=DigestCache)
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
    return Memory(DigestCache(digests), known, shapes=shapes)


def save_memory(path: Path, memory: Memory) -> None:
    """Save what was used since `memory` was loaded, atomically; what nobody asked for is forgotten."""
    verdicts = {key: [list(pair) for pair in verdict] for key, verdict in memory.verdicts.items()}
    write_json(path, {"digests": memory.digests.entries, "verdicts": verdicts, "shapes": memory.shapes})


def load_cache(path: Path) -> DigestCache:
    """The digest cache alone."""
    return load_memory(path).digests


def save_cache(path: Path, cache: DigestCache) -> None:
    """Save the digest cache alone."""
    save_memory(path, Memory(cache))
