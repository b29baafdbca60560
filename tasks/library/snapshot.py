"""The content-addressed version of the library: what every later digest begins with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.files import DigestCache, digest_value
from tasks.library import VERSION
from tasks.library.base_model import BaseModel
from tasks.library.entries import Entry, lines_of
from tasks.library.samples import digest_of


@dataclass(frozen=True, slots=True)
class Reference:
    """A sound reference and the content digests of its parts."""

    name: str
    adapter: Path
    adapter_digest: str
    samples: str
    samples_digest: str
    evaluation: str | None
    evaluation_digest: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """A sound target and the digests of its parts. `ceiling` is its own adapter: only evaluated, never composed."""

    name: str
    samples: str
    samples_digest: str
    evaluation: str | None
    evaluation_digest: str | None
    ceiling: Path | None
    ceiling_digest: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The library at one moment, in order of name. `digest` changes when the base model or any reference does."""

    digest: str
    base: BaseModel
    references: tuple[Reference, ...]


def take_snapshot(entries: Sequence[Entry], *, base: BaseModel, cache: DigestCache) -> Snapshot:
    """Snapshot of validated entries; their order does not matter."""
    references = tuple(_reference(entry, cache) for entry in sorted(entries, key=lambda entry: entry.name))
    identities = [
        [one.name, one.adapter_digest, one.samples_digest, one.evaluation_digest, one.description] for one in references
    ]
    return Snapshot(digest_value(["snapshot", VERSION, base.digest, identities]), base, references)


def take_targets(entries: Sequence[Entry], *, cache: DigestCache) -> tuple[Target, ...]:
    """Validated targets with their digests, in their own order."""
    return tuple(
        Target(
            name=entry.name,
            samples=entry.samples,
            samples_digest=_samples_digest(entry, cache),
            evaluation=entry.evaluation,
            evaluation_digest=None if entry.evaluation is None else digest_of(entry.evaluation, cache),
            ceiling=None if entry.adapter is None else Path(entry.adapter),
            ceiling_digest=None if entry.adapter is None else cache.tree(Path(entry.adapter)),
            description=entry.description,
        )
        for entry in entries
    )


def _samples_digest(entry: Entry, cache: DigestCache) -> str:
    if entry.samples:
        return digest_of(entry.samples, cache)
    return digest_value(["described", lines_of(entry.description)])


def _reference(entry: Entry, cache: DigestCache) -> Reference:
    if entry.adapter is None:
        raise ValueError(f"{entry.name} has no adapter; a snapshot is taken of validated entries")
    adapter = Path(entry.adapter)
    return Reference(
        name=entry.name,
        adapter=adapter,
        adapter_digest=cache.tree(adapter),
        samples=entry.samples,
        samples_digest=_samples_digest(entry, cache),
        evaluation=entry.evaluation,
        evaluation_digest=None if entry.evaluation is None else digest_of(entry.evaluation, cache),
        description=entry.description,
    )
