"""Runs that are stopped from outside: nothing stays behind, nothing is half-written, and the next run goes on."""

import json
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from tasks.prototypes.store import PrototypeStore
from tests.conftest import COMMAND, Night, edit_project, environment, keep_targets, tesserae, wait_until

pytestmark = pytest.mark.services


def start(command: str, project: Path) -> subprocess.Popen[bytes]:
    """A flow as a process of its own, stopped by a signal to it alone, as `kill` sends it."""
    return subprocess.Popen(
        [str(COMMAND), command, str(project), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
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
    keep_targets(fresh, 4)
    night = start("nightly", fresh)
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
    assert len(finished.json["targets"]) == 4


def test_a_killed_night_takes_its_server_and_workers_with_it(fresh: Path):
    night = start("nightly", fresh)
    wait_until(lambda: any((fresh / "workspace/prototypes").glob("part-*")), limit=240, what="the first shard")
    family = family_of(night)
    night.kill()
    night.communicate(timeout=120)
    wait_until(lambda: gone(family), limit=60, what="the end of the night's server and workers")
    finished = tesserae("refresh", fresh, "--json")
    assert finished.code == 0, finished.err
    assert finished.json["prototypes_computed"] < 16  # the finished shard was not computed again


def fork_servers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The process that a run's workers are forked from, once it is there."""
    return [
        one
        for one in psutil.Process(process.pid).children()
        if any("multiprocessing.forkserver" in part for part in one.cmdline())
    ]


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The Dask workers of a run: the children of its fork server."""
    return [worker for server in fork_servers_of(process) for worker in server.children()]


def test_workers_inherit_quiet_libraries_and_cannot_write_among_the_result(fresh: Path):
    run = start("refresh", fresh)
    wait_until(lambda: bool(fork_servers_of(run)), limit=60, what="the process that workers are forked from")
    (server,) = fork_servers_of(run)
    assert server.environ()["TOKENIZERS_PARALLELISM"] == "false"
    out, messages = (Path(f"/proc/{server.pid}/fd/{number}").readlink() for number in (1, 2))
    assert out == messages
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=120)
    wait_until(lambda: gone([server]), limit=15, what="the end of that process")


_INTERRUPTED_AROUND_A_FORK = """
import signal, threading
from flows.cli import _heed_signals

_heed_signals()
told = []
within = {"__name__": "logging", "signal": signal, "told": told}
exec("def _releaseLock():\\n    signal.raise_signal(signal.SIGINT)\\n    told.append('released')", within)
try:
    within["_releaseLock"]()
    threading.Event().wait(10)
except KeyboardInterrupt:
    told.append("interrupted")
print(told)
"""


def test_an_interrupt_during_a_fork_waits_until_loggings_lock_is_released_and_then_comes():
    """Raised in the hook that releases it, it would be ignored, and the lock would stay locked: the run hung."""
    command = [sys.executable, "-c", _INTERRUPTED_AROUND_A_FORK]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == "['released', 'interrupted']", done.stderr


def stored(project: Path) -> list[Path]:
    return list((project / "workspace/prototypes").glob("*.parquet"))


def parts_of(project: Path) -> list[Path]:
    return [path for path in stored(project) if path.name.startswith("part-")]


def creations(files: list[Path]) -> dict[str, datetime]:
    """When each prototype in these files of a store was computed, by digest."""
    rows = [row for path in files for row in pq.read_table(path, columns=["digest", "created_at"]).to_pylist()]
    return {row["digest"]: row["created_at"] for row in rows}


def test_a_killed_dask_worker_ends_no_run_repeats_no_finished_shard_and_changes_no_bit(fresh: Path, night: Night):
    edit_project(fresh, lambda settings: settings.setdefault("prototypes", {}).update(shard_size=1))
    run = start("refresh", fresh)
    wait_until(lambda: bool(parts_of(fresh)), limit=240, what="the first shard")
    workers = workers_of(run)
    assert len(workers) == 2
    workers[0].kill()
    finished = creations(parts_of(fresh))
    assert len(finished) < 16  # of one reference or target each: it died in the middle
    out, messages = run.communicate(timeout=240)
    assert run.returncode == 0, messages.decode()
    report = json.loads(out)
    assert report["failures"] == []
    assert report["prototypes_computed"] <= 16  # none twice; a part whose writer died before it could say so is found
    assert finished.items() <= creations(stored(fresh)).items()
    disturbed = PrototypeStore(fresh / "workspace/prototypes").read()
    undisturbed = PrototypeStore(night.project / "workspace/prototypes").read()
    assert disturbed.keys() == undisturbed.keys()
    for digest, one in disturbed.items():
        for part in ("prototype", "half_a", "half_b", "within_std", "standard_error", "count"):
            np.testing.assert_array_equal(getattr(one, part), getattr(undisturbed[digest], part))


def test_an_example_that_is_ended_in_the_middle_leaves_neither_processes_nor_files(tmp_path: Path):
    making = start("example", tmp_path / "project")
    wait_until(lambda: any(tmp_path.glob("*/base/config.json")), limit=240, what="the example's base model")
    family = family_of(making)
    assert family
    making.send_signal(signal.SIGTERM)
    _, messages = making.communicate(timeout=120)
    assert making.returncode == 130, messages.decode()
    wait_until(lambda: gone(family), limit=15, what="the end of the processes that train")
    assert list(tmp_path.iterdir()) == []
