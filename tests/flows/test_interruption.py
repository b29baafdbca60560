"""Runs that are stopped from outside: nothing stays behind, nothing is half-written, and the next run goes on."""

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.conftest import COMMAND, tesserae, wait_until

pytestmark = pytest.mark.services


def start_night(project: Path) -> subprocess.Popen[bytes]:
    """A night as a process of its own, stopped by a signal to it alone, as `kill` sends it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    return subprocess.Popen(
        [str(COMMAND), "nightly", str(project), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )


def family_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def half_written(project: Path) -> list[Path]:
    return [path for path in (project / "workspace").rglob("*.tmp*") if "prefect" not in path.parts]


def first_adapter_is_there(project: Path) -> bool:
    return any((project / "workspace" / "adapters").glob("*/*/recipe.json"))


def gone(family: list[psutil.Process]) -> bool:
    return not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family)


def test_an_interrupted_night_leaves_no_process_and_no_half_written_file_and_the_next_one_finishes(fresh: Path):
    night = start_night(fresh)
    wait_until(lambda: first_adapter_is_there(fresh), limit=240, what="the first adapter of the night")
    family = family_of(night)
    assert len(family) >= 3  # the server and two workers, at least
    night.send_signal(signal.SIGINT)
    _, messages = night.communicate(timeout=120)
    assert night.returncode == 130, messages.decode()
    assert b"Traceback" not in messages.splitlines()[-1]
    # Python's resource tracker ends when it sees its parent's pipe closed: a moment later.
    wait_until(lambda: gone(family), limit=15, what="the end of the night's helpers")
    assert half_written(fresh) == []
    finished = tesserae("nightly", fresh, "--json")
    assert finished.code == 0, finished.err
    assert finished.json["prototypes_computed"] == 0  # they were finished before the interruption
    assert len(finished.json["targets"]) == 10


def test_a_killed_night_takes_its_server_and_workers_with_it(fresh: Path):
    night = start_night(fresh)
    wait_until(lambda: any((fresh / "workspace/prototypes").glob("part-*")), limit=240, what="the first shard")
    family = family_of(night)
    night.kill()
    night.communicate(timeout=120)
    wait_until(lambda: gone(family), limit=60, what="the end of the night's server and workers")
    finished = tesserae("refresh", fresh, "--json")
    assert finished.code == 0, finished.err
    assert finished.json["prototypes_computed"] < 16  # the finished shard was not computed again
