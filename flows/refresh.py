"""Refresh: the library's snapshot, and the prototypes of what changed.

    entries -> examination -> snapshot -> shards of missing prototypes -> Parquet
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.run import Run, open_run
from flows.report import failure_of
from flows.settings import PrototypeSettings
from tasks.files import Failure, InvalidInput, Problem
from tasks.library.base_model import BaseModel, resolve_base
from tasks.library.discovery import discover
from tasks.library.snapshot import Snapshot, Target, take_snapshot, take_targets
from tasks.library.validation import Examination, examine
from tasks.prototypes.extraction import ExtractionSettings, Job, extract_shard, prototype_digest
from tasks.prototypes.statistics import Prototype
from tasks.prototypes.store import PrototypeStore


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the project file names, as far as it is sound."""

    snapshot: Snapshot
    targets: tuple[Target, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Library:
    """A catalogue with its prototypes, by name."""

    snapshot: Snapshot
    references: Mapping[str, Prototype]
    targets: tuple[Target, ...]
    target_prototypes: Mapping[str, Prototype]
    failures: tuple[Failure, ...]
    computed: int


def examine_project(run: Run) -> tuple[BaseModel, Examination]:
    """Find and examine every entry; computes nothing. Raises InvalidInput where not even the entries can be found."""
    settings = run.settings
    base = resolve_base(settings.base_model, settings.revision, run.project.root, run.memory.digests)
    found = examine(
        discover(settings.library, root=run.project.root),
        discover(settings.targets, root=run.project.root),
        base=base,
        family=settings.family,
        aliases=frozenset(settings.aliases),
        root=run.project.root,
        memory=run.memory,
    )
    return base, found


@task(name="take stock", cache_policy=NO_CACHE)
def take_stock(run: Run) -> Catalogue:
    """Examine the project and take the snapshot of what is sound; the rest is listed and left out."""
    base, found = examine_project(run)
    failures = tuple(Failure(p.item, "check", p.problem, p.remedy) for p in found.problems)
    if not found.library:
        raise InvalidInput(*found.problems, Problem("library", "no reference is sound", "repair the entries above"))
    snapshot = take_snapshot(found.library, base=base, cache=run.memory.digests)
    return Catalogue(snapshot, take_targets(found.targets, cache=run.memory.digests), failures)


def _extraction_settings(run: Run, base: BaseModel) -> ExtractionSettings:
    how: PrototypeSettings = run.settings.prototypes
    return ExtractionSettings(
        base=base,
        family=run.settings.family,
        layer=how.layer,
        pooling=how.pooling,
        batch_size=how.batch_size,
        max_samples=how.max_samples,
        threads=run.workers.threads,
        trust_remote_code=run.settings.trust_remote_code,
    )


def _jobs(catalogue: Catalogue, settings: ExtractionSettings) -> tuple[list[Job], list[Job]]:
    def job(item: Any) -> Job:
        return Job(item.name, item.samples, prototype_digest(item.samples_digest, settings))

    return [job(item) for item in catalogue.snapshot.references], [job(item) for item in catalogue.targets]


def _shards(jobs: Sequence[Job], size: int) -> Iterator[tuple[Job, ...]]:
    remaining = iter(jobs)
    while shard := tuple(islice(remaining, size)):
        yield shard


@task(name="extract shard", cache_policy=NO_CACHE, retries=1)
def extract(run: Run, shard: tuple[Job, ...], settings: ExtractionSettings) -> tuple[int, tuple[Failure, ...]]:
    """Compute a shard's prototypes on a worker, which writes them to one Parquet part."""
    report = run.workers.run(extract_shard, shard, settings, run.workspace.prototypes)
    return report.computed, tuple(report.failures)


def _extract_missing(
    run: Run, jobs: Sequence[Job], settings: ExtractionSettings, known: Mapping[str, Prototype]
) -> tuple[int, tuple[Failure, ...]]:
    missing = {job.digest: job for job in jobs if job.digest not in known}
    shards = list(_shards(list(missing.values()), run.settings.prototypes.shard_size))
    running = [(shard, extract.submit(run, shard, settings)) for shard in shards]
    computed, failures = 0, []
    for shard, future in running:
        outcome = future.result(raise_on_failure=False)
        if isinstance(outcome, BaseException):
            failures += [failure_of(job.name, "prototype", outcome) for job in shard]
        else:
            computed += outcome[0]
            failures += outcome[1]
    return computed, tuple(failures)


def refresh_library(run: Run) -> Library:
    """Bring every prototype up to date; one bad reference never stops the others."""
    catalogue = take_stock(run)
    settings = _extraction_settings(run, catalogue.snapshot.base)
    references, targets = _jobs(catalogue, settings)
    store = PrototypeStore(run.workspace.prototypes)
    computed, failures = _extract_missing(run, [*references, *targets], settings, store.read())
    known = store.compact({job.digest for job in [*references, *targets]})
    get_run_logger().info("%d prototypes computed, %d known", computed, len(known) - computed)
    return Library(
        snapshot=catalogue.snapshot,
        references={job.name: known[job.digest] for job in references if job.digest in known},
        targets=catalogue.targets,
        target_prototypes={job.name: known[job.digest] for job in targets if job.digest in known},
        failures=catalogue.failures + failures,
        computed=computed,
    )


@flow(name="refresh")
def refresh(project: str) -> dict[str, Any]:
    """Snapshot and prototypes alone; returns the contract's report as far as it goes."""
    from flows.report import refresh_report

    with open_run(Path(project)) as run:
        return refresh_report(refresh_library(run))
