"""Audit: treat the library's own references as unseen, and learn which rule to trust where.

references -> trials -> weights of every rule -> scores of what is new -> gains -> results in Parquet -> report
"""

import time
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

import tasks.audit
from flows.audit_report import library_report
from flows.audit_settings import AuditSettings
from flows.audit_work import AuditWork, audit_on_worker, prepare_to_audit, work_on
from flows.auditing import labelled, plan_audit, results_of
from flows.recording import log_audit
from flows.refresh import Library, refresh_library
from flows.report import Report, failure_of, failures_json
from flows.run import Run, open_run
from flows.tasking import opaque_task
from tasks.audit.measuring import Need
from tasks.audit.store import ScoreStore, read_results, write_results
from tasks.files import Failure


def _works(run: Run, library: Library, missing: Iterable[Need]) -> deque[AuditWork]:
    from tasks.evaluation.examiners.setting import Setting

    known = {reference.name: reference for reference in library.snapshot.references}
    by_reference: dict[str, list[Need]] = {}
    for need in missing:
        by_reference.setdefault(need.on, []).append(need)
    size = run.settings.evaluation.batch_size
    return deque(
        work_on(
            on,
            needs,
            known,
            Setting(run.settings.family, library.snapshot.base, str(known[on].evaluation), "auto", size, 0),
            run.workers.threads,
        )
        for on, needs in by_reference.items()
    )


@opaque_task("audit references")
def measure(run: Run, waiting: deque[AuditWork], store: ScoreStore, *, until: float) -> tuple[Failure, ...]:
    """Score on the workers, each reference's samples in one piece, until nothing waits or the time is over."""
    failures: list[Failure] = []
    running: deque[tuple[AuditWork, Any]] = deque()
    with run.stages.stage("audit", len(waiting)) as advance:
        while waiting or running:
            while waiting and len(running) < 2 * run.workers.count and time.monotonic() < until:
                work = waiting.popleft()
                tries = run.settings.cluster.attempts
                future = run.workers.client.submit(audit_on_worker, work, pure=False, retries=tries - 1)
                running.append((work, future))
            if not running:
                break
            work, done = running.popleft()
            try:
                store.add(done.result())
            except Exception as error:  # one reference's trouble must not lose the others' audit
                failures.append(failure_of(work.on, "audit", error))
            advance(1)
    return tuple(failures)


def audit_library(run: Run, library: Library, how: AuditSettings) -> Report:
    """Audit a refreshed library; returns the audit's part of the report."""
    began, directory = time.monotonic(), run.workspace.audit
    before, store = read_results(directory), ScoreStore(directory)
    if not before and labelled(library):
        run.workers.start(prepare_to_audit)
    plan = plan_audit(run, library, how, before)
    wanted, known = plan.everything(), store.read()
    missing = [need for key, need in wanted.items() if key not in known]
    failures = measure(run, _works(run, library, missing), store, until=began + 60 * how.minutes) if missing else ()
    scores = store.read()
    new = results_of(plan, scores, now=datetime.now(UTC))
    names, fresh = set(plan.stage.names), {one.trial for one in new}
    kept = [one for one in before if one.trial not in fresh and set(one.trial.members) <= names]
    results = [*kept, *new]
    if missing or len(results) != len(before):
        write_results(directory, results)
    store.compact(set(wanted) | (set(scores) if kept else set()))
    get_run_logger().info("%d scores were asked for, %d were new", len(wanted), len(missing))
    found = library_report(plan, library, scores, results, how)
    done = sum(need.key in scores for need in missing)
    return {"trials": len(plan.trials), "scored": done, "known": len(wanted) - len(missing), **found} | {
        "failures": failures_json(library.failures + failures)
    }


@flow(name="audit")
def audit(project: str) -> Report:
    """Refresh the library and audit it; returns what the audit says about it."""
    with open_run(Path(project)) as run:
        library = refresh_library(run)
        found = audit_library(run, library, run.settings.audit)
        return {
            "run_id": str(flow_run.id),
            "mlflow_run": log_audit(run, found),
            "snapshot": library.snapshot.digest,
            "version": tasks.audit.VERSION,
            "seconds": run.watch.seconds,
            **found,
        }
