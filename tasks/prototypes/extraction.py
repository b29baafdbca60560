"""Prototypes of a shard of references, on a worker. Imports torch only when something must be computed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq

from tasks.files import Failure, digest_value
from tasks.prototypes import VERSION
from tasks.prototypes.settings import ExtractionSettings, Recipe
from tasks.prototypes.store import PrototypeStore, prototypes_of

STAGE = "prototypes"


@dataclass(frozen=True, slots=True)
class Job:
    """One prototype to compute: whose, its digest, from which samples (empty: from the description's lines)."""

    name: str
    digest: str
    samples: str
    description: str | None = None


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What became of a shard: its Parquet part (None if nothing succeeded), how many were computed now, what failed."""

    part: Path | None
    computed: int
    failures: tuple[Failure, ...]


def prototype_digest(samples_digest: str, *, recipe: Recipe, description: str | None = None) -> str:
    """Identity of a prototype: the samples' content, all that determines the embedding, and this code's version.

    The description counts only where the recipe makes it a part of the prototype.
    """
    described = description if recipe.description is not None else None
    return digest_value(["prototype", VERSION, samples_digest, _recipe_digest(recipe), described])


@cache
def _recipe_digest(recipe: Recipe) -> str:
    content = asdict(recipe)
    content["base"], content["encoder"] = recipe.base.digest, recipe.encoder.digest  # wherever they lie
    if recipe.description is not None:
        reader = recipe.description.encoder or recipe.encoder
        content["description"] = [recipe.description.weight, reader.digest]
    return digest_value(content)


def extract_shard(jobs: Sequence[Job], settings: ExtractionSettings, directory: Path) -> ShardReport:
    """Compute the prototypes of `jobs` and leave them as one part of the store in `directory`.

    A reference that cannot be encoded fails alone. What stands in any part of the store is not computed again, so a
    scheduler may run a shard twice, whole or split. Raises what loading the model raises: that is nobody's fault among
    the references.
    """
    store = PrototypeStore(directory)
    shard = digest_value(sorted([job.name, job.digest] for job in jobs))
    part = store.part_path(shard)
    done = {one.digest: one for one in prototypes_of(pq.read_table(part))} if part.exists() else {}
    known = store.digests()
    missing = list({job.digest: job for job in reversed(jobs) if job.digest not in known}.values())[::-1]
    if not missing:
        return ShardReport(part if done else None, 0, ())
    from tasks.prototypes.compute import compute

    computed, failures = compute(missing, settings)
    if not computed:
        return ShardReport(part if done else None, 0, failures)
    store.write_part([*done.values(), *computed], shard, now=datetime.now(UTC))
    return ShardReport(part, len(computed), failures)
