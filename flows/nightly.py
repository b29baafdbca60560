"""Nightly: refresh the library, compose every target, promote, report. The whole job on one page."""

import time
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from flows.compose import compose_targets
from flows.refresh import refresh_library
from flows.register import register_run
from flows.report import Report
from flows.run import open_run


@flow(name="nightly")
def nightly(project: str) -> Report:
    """Run a night over the project at this path; returns the contract's report."""
    started = time.monotonic()
    with open_run(Path(project)) as run:
        library = refresh_library(run)
        composed = compose_targets(run, library, selected=())
        return register_run(run, library, composed, run_id=str(flow_run.id), started=started)
