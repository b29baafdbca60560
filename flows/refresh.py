"""Refresh: the library's snapshot, and the prototypes of what changed.

entries -> examination -> snapshot -> shards of missing prototypes -> Parquet
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from distributed import KilledWorker
from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.report import Report, failure_of, refresh_report
from flows.run import Run, open_run
from flows.stock import Catalogue, look
from flows.tasking import opaque_task
from flows.work import ShardWork, extract_on_worker
from tasks.files import Failure
from tasks.library.base_model import BaseModel
from tasks.library.snapshot import Reference, Snapshot, Target
from tasks.prototypes.dispatch import extract_isolated
from tasks.prototypes.extraction import Job, ShardReport, prototype_digest
from tasks.prototypes.matrix import MappedPrototypes, mapped, no_prototypes
from tasks.prototypes.pilot import settled_error
from tasks.prototypes.settings import Capped, DescriptionPart, Recipe, Sampling, UntilCertain
from tasks.prototypes.shards import balanced_shards
from tasks.prototypes.siblings import siblings_among
from tasks.prototypes.store import PrototypeStore


@dataclass(frozen=True, slots=True)
class Library:
    """A catalogue with its prototypes, mapped from the store; references stand in order of name."""

    snapshot: Snapshot
    references: MappedPrototypes
    targets: tuple[Target, ...]
    target_prototypes: MappedPrototypes
    failures: tuple[Failure, ...]
    computed: int


@opaque_task("take stock")
def take_stock(run: Run) -> Catalogue:
    """What is sound of the project, as the command saw it while its server started; else it is looked at now."""
    return run.catalogue.result() if run.catalogue.done() else look(run)


def _recipe(run: Run, base: BaseModel) -> Recipe:
    how = run.settings.prototypes
    described = DescriptionPart(how.description_weight, run.model(how.description_encoder))
    return Recipe(
        base=base,
        encoder=run.model(how.encoder) or base,
        family=run.settings.family,
        pooling=how.pooling,
        layers=how.layers,
        max_tokens=how.max_tokens,
        dtype=how.dtype,
        trust_remote_code=run.settings.trust_remote_code,
        description=described if how.description_weight > 0 else None,
    )


def _jobs(items: Sequence[Reference] | Sequence[Target], recipe: Recipe) -> list[Job]:
    return [
        Job(
            item.name,
            prototype_digest(item.samples_digest, recipe=recipe, description=item.description),
            item.samples,
            item.description,
        )
        for item in items
    ]


@opaque_task("extract shard")
def extract(run: Run, work: ShardWork) -> tuple[int, tuple[Failure, ...]]:
    """Compute a shard's prototypes on a worker, to Parquet; a job that kills its worker fails alone."""

    def on_worker(jobs: Sequence[Job]) -> ShardReport:
        report: ShardReport = run.workers.run(extract_on_worker, replace(work, jobs=tuple(jobs)))
        return report

    reports = extract_isolated(work.jobs, on_worker, died=KilledWorker, tries=run.settings.cluster.attempts)
    failures = tuple(failure for report in reports for failure in report.failures)
    return sum(report.computed for report in reports), failures


def _extract_missing(
    run: Run, jobs: Sequence[Job], recipe: Recipe, known: frozenset[str]
) -> tuple[int, tuple[Failure, ...]]:
    missing = {job.digest: job for job in jobs if job.digest not in known}
    how = run.settings.prototypes
    shards = balanced_shards(list(missing.values()), size=how.shard_size, workers=run.workers.count)
    directory, threads = run.workspace.prototypes, run.workers.threads
    work = [ShardWork(shard, recipe, threads, how.token_budget, how.window_rows, directory) for shard in shards]
    tried = extract.retried(run.settings.cluster.attempts - 1)
    running = [tried.submit(run, one) for one in work]
    computed, failures = 0, list[Failure]()
    with run.stages.stage("prototypes", len(missing)) as advance:
        for shard, future in zip(shards, running, strict=True):
            outcome = future.result(raise_on_failure=False)
            if isinstance(outcome, BaseException):
                failures += [failure_of(job.name, "prototypes", outcome) for job in shard]
            else:
                computed += outcome[0]
                failures += outcome[1]
            advance(len(shard))
    return computed, tuple(failures)


def _mapped(
    store: PrototypeStore, references: Sequence[Job], targets: Sequence[Job]
) -> tuple[MappedPrototypes, MappedPrototypes]:
    """Compact the store to these jobs, references first, and map both kinds."""
    there = store.digests()
    kept = [[(job.name, job.digest) for job in jobs if job.digest in there] for jobs in (references, targets)]
    compacted = store.compact([*kept[0], *kept[1]])
    found = no_prototypes() if compacted is None else mapped(compacted)
    return found.between(0, len(kept[0])), found.between(len(kept[0]), len(found))


def _sampling(run: Run, references: Sequence[Reference], recipe: Recipe) -> Sampling | None:
    """How samples are chosen. `auto` measures the references' distances once, on few samples of each."""
    how = run.settings.prototypes
    if how.max_samples is None:
        return None
    if how.max_samples != "auto":
        return Capped(how.max_samples, how.seed)
    few = replace(recipe, sampling=Capped(how.first_samples, how.seed))

    def pilot() -> np.ndarray:
        store, jobs = PrototypeStore(run.workspace.prototypes), _jobs(references, few)
        _extract_missing(run, jobs, few, store.digests())  # what fails here fails again below, and is told there
        known, wanted = store.read(), {job.digest for job in jobs}
        return np.array([known[digest].prototype for digest in sorted(wanted & set(known))])

    error = settled_error(run.workspace.pilot, pilot_recipe=few, share=how.error_share, pilot=pilot)
    return UntilCertain(error, how.first_samples, how.seed)


def _say_how_many(library: MappedPrototypes) -> None:
    counts = library.counts
    if len(counts):
        least, middle, most = counts.min(), int(np.median(counts)), counts.max()
        get_run_logger().info("samples of a reference: %d in the middle, from %d to %d", middle, least, most)


def refresh_library(run: Run) -> Library:
    """Bring every prototype up to date; one bad reference never stops the others."""
    catalogue = take_stock(run)
    plain = _recipe(run, catalogue.snapshot.base)
    recipe = replace(plain, sampling=_sampling(run, catalogue.snapshot.references, plain))
    # In order of name, the rows of the mapped library are those of a frame, and no copy is made to sort them.
    references = sorted(_jobs(catalogue.snapshot.references, recipe), key=lambda job: job.name)
    targets = _jobs(catalogue.targets, recipe)
    store = PrototypeStore(run.workspace.prototypes)
    computed, failures = _extract_missing(run, [*references, *targets], recipe, store.digests())
    known, of_targets = _mapped(store, references, targets)
    for siblings in siblings_among(tuple(known), known.prototypes):
        get_run_logger().warning("%s", siblings)
    get_run_logger().info("%d prototypes computed, %d known", computed, len(known) + len(of_targets) - computed)
    _say_how_many(known)
    return Library(catalogue.snapshot, known, catalogue.targets, of_targets, catalogue.failures + failures, computed)


@flow(name="refresh")
def refresh(project: str) -> Report:
    """Snapshot and prototypes alone; returns the contract's report as far as it goes."""
    with open_run(Path(project)) as run:
        return refresh_report(refresh_library(run), run_id=str(flow_run.id), seconds=run.watch.seconds)
