"""Nightly: refresh, audit if so asked, compose every target, promote, report. The whole job on one page."""

from dataclasses import replace
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from flows.audit import audit_library
from flows.compose import compose_targets
from flows.recording import log_audit
from flows.refresh import refresh_library
from flows.register import register_run
from flows.report import Report
from flows.run import open_run
from tasks.files import Failure


@flow(name="nightly")
def nightly(project: str) -> Report:
    """Run a night over the project at this path; returns the contract's report."""
    with open_run(Path(project)) as run:
        library = refresh_library(run)
        if run.settings.audit.nightly:
            audited = audit_library(run, library, run.settings.audit)
            log_audit(run, audited)
            library = replace(library, failures=tuple(Failure(**one) for one in audited["failures"]))
        composed = compose_targets(run, library, selected=())
        return register_run(run, library, composed, run_id=str(flow_run.id))
