"""Train: one LoRA adapter for every reference that has labelled samples and no adapter yet.

entries -> training jobs -> adapters beside the samples, and their curves in MLflow
"""

import time
from collections.abc import Sequence
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from flows.report import Report, failure_of, training_report
from flows.run import Run, open_run
from flows.tasking import opaque_task
from flows.work import Curve, train_on_worker
from tasks.files import Failure, InvalidInput
from tasks.library.base_model import BaseModel, resolve_base
from tasks.library.discovery import discover
from tasks.library.entries import Entry
from tasks.library.names import name_problems
from tasks.training.job import LoraShape, Schedule, TrainingJob


def _untrained(run: Run) -> list[Entry]:
    """References whose adapter is not there yet. Raises InvalidInput for names that cannot become paths."""
    entries = discover(run.settings.library, root=run.project.root)
    problems = name_problems([entry.name for entry in entries])
    if problems:
        raise InvalidInput(*problems.values())
    return [one for one in entries if one.adapter and not (Path(one.adapter) / "adapter_config.json").is_file()]


def _job(run: Run, base: BaseModel, entry: Entry) -> TrainingJob:
    how = run.settings.training
    return TrainingJob(
        name=entry.name,
        family=run.settings.family,
        base=base,
        samples=entry.samples,
        directory=Path(str(entry.adapter)),
        checkpoint=run.workspace.checkpoint(entry.name),
        lora=LoraShape(rank=how.rank, alpha=how.alpha, dropout=how.dropout, targets=how.modules),
        schedule=Schedule(
            steps=how.steps,
            batch_size=how.batch_size,
            learning_rate=how.learning_rate,
            weight_decay=how.weight_decay,
            clip=how.clip,
            warmup=how.warmup,
            validation=how.validation,
            validate_every=how.validate_every,
            patience=how.patience,
            checkpoint_every=how.checkpoint_every,
        ),
        seed=how.seed,
        device="auto",
    )


def _log_curve(run: Run, curve: Curve, *, parent: str) -> None:
    registry = run.registry()
    run_id = registry.start_run(f"train {curve.name}", tags={"reference": curve.name}, parent=parent)
    registry.log_curve(run_id, curve.points, now_ms=time.time_ns() // 1_000_000)
    registry.end_run(run_id, succeeded=True)


@opaque_task("train adapters")
def train_all(run: Run, jobs: Sequence[TrainingJob], *, parent: str) -> tuple[int, tuple[Failure, ...]]:
    """Train every job on the workers, one adapter a worker at a time; each fails alone and can be resumed."""
    threads, tries = run.workers.threads, run.settings.cluster.attempts
    futures = [run.workers.client.submit(train_on_worker, job, threads, pure=False, retries=tries - 1) for job in jobs]
    trained, failures = 0, list[Failure]()
    with run.stages.stage("adapters", len(jobs)) as advance:
        for job, future in zip(jobs, futures, strict=True):
            error = future.exception()
            if error is None:
                _log_curve(run, future.result(), parent=parent)
                trained += 1
            else:
                failures.append(failure_of(job.name, "train", error))
            advance(1)
    return trained, tuple(failures)


@flow(name="train")
def train(project: str) -> Report:
    """Train the adapters that are missing; returns what was trained and what failed."""
    with open_run(Path(project)) as run:
        base = resolve_base(run.settings.base_model, run.settings.revision, run.project.root, run.memory.digests)
        jobs = [_job(run, base, entry) for entry in _untrained(run)]
        if not jobs:
            return training_report(0, (), run_id=str(flow_run.id), mlflow_run=None, seconds=run.watch.seconds)
        parent = run.registry().start_run(time.strftime("%m-%d %H:%M:%S training"), tags={})
        trained, failures = train_all(run, jobs, parent=parent)
        run.registry().end_run(parent, succeeded=not failures)
        return training_report(trained, failures, run_id=str(flow_run.id), mlflow_run=parent, seconds=run.watch.seconds)
