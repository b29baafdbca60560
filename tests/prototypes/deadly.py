"""Work that ends its own process; in a module of its own, so that a worker which starts anew imports little."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from tasks.prototypes.extraction import Job, ShardReport, extract_shard
from tasks.prototypes.settings import ExtractionSettings


def killed_once(jobs: Sequence[Job], settings: ExtractionSettings, directory: Path, victim: str) -> ShardReport:
    """A worker that dies by SIGKILL in the middle of the victim's shard, the first time; every start leaves a mark."""
    marks = directory / "marks"
    marks.mkdir(exist_ok=True, parents=True)
    (marks / f"{jobs[0].name}-{os.getpid()}-{len(list(marks.iterdir()))}").touch()
    if any(job.name == victim for job in jobs) and not (marks / "killed").exists():
        extract_shard(jobs[:1], settings, directory / "half")  # the model is loaded and the device busy
        (marks / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return extract_shard(jobs, settings, directory)


def always_fatal(jobs: Sequence[Job], settings: ExtractionSettings, directory: Path, victim: str) -> ShardReport:
    """A worker that a certain reference kills each time."""
    if any(job.name == victim for job in jobs):
        os.kill(os.getpid(), signal.SIGKILL)
    return extract_shard(jobs, settings, directory)
