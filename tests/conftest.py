"""What the whole suite shares: the digits example at full effort, and one night over it."""

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from flows.services import die_with_parent, free_port, healthy

COMMAND = Path(sys.executable).with_name("tesserae")
FLOWS = ("audit", "compose", "nightly", "refresh", "train")


@dataclass(frozen=True)
class Finished:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Stdout as the one object that it must be."""
        return json.loads(self.out)


def environment() -> dict[str, str]:
    """The environment of a user who has set nothing: a flow then starts a Prefect server of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}


def run_command(arguments: Sequence[object], variables: Mapping[str, str]) -> Finished:
    """Run the installed command in an environment."""
    done = subprocess.run(
        [str(COMMAND), *map(str, arguments)], capture_output=True, text=True, env=variables, timeout=500, check=False
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@functools.cache
def with_running_server() -> dict[str, str]:
    """The environment of a user who has a Prefect server; it is started once and serves every later command.

    A command's own server costs ten seconds, and twenty more with a new workspace. The first night, the runs that are
    stopped from outside and the schedule start theirs.
    """
    home, port = tempfile.mkdtemp(prefix="prefect-"), free_port()
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "true", "PREFECT_HOME": home}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        command,
        env={**environment(), **quiet},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    atexit.register(server.wait)
    atexit.register(server.terminate)
    url = f"http://127.0.0.1:{port}/api"
    wait_until(lambda: healthy(url), limit=180, what="the start of a Prefect server")
    return {**environment(), **quiet, "PREFECT_API_URL": url}


def tesserae(*arguments: object) -> Finished:
    """Run the installed command as a user does; flows report to one running Prefect server."""
    return run_command(arguments, with_running_server() if arguments[0] in FLOWS else environment())


def wait_until(condition: Callable[[], bool], *, limit: float, what: str) -> None:
    """Look until the condition holds; fails, naming what was waited for, after `limit` seconds."""
    pause = threading.Event()
    for _ in range(int(limit / 0.05)):
        if condition():
            return
        pause.wait(0.05)
    pytest.fail(f"{what} did not happen within {limit} s")


def edit_project(project: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the project file in place."""
    path = project / "project.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(settings)
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def keep_targets(project: Path, count: int) -> None:
    """Only the first targets: what is asked does not need ten."""
    edit_project(project, lambda settings: settings.update(targets=settings["targets"][:count]))


@dataclass(frozen=True)
class Night:
    """A project after its first night, and what that night reported."""

    project: Path
    finished: Finished

    @property
    def report(self) -> dict[str, Any]:
        """The night's JSON report."""
        return self.finished.json


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What only a GPU can show is skipped where there is none."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpu:
        return
    import torch

    if not torch.cuda.is_available():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="there is no CUDA device here"))


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all processes of a test run share; pytest-xdist gives each of them one below it."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def digits(common: Path) -> Path:
    """The digits example, as the command makes it. Not to be changed: copy it."""
    project = common / "digits" / "project"
    with FileLock(common / "digits.lock"):
        if not project.exists():
            made = run_command(["example", project, "--domain", "digits", "--json"], environment())
            assert made.code == 0, made.err
    return project


@pytest.fixture(scope="session")
def night(digits: Path, common: Path) -> Night:
    """The example after one night. Not to be changed: copy it."""
    project, told = common / "night" / "project", common / "night.json"
    with FileLock(common / "night.lock"):
        if not told.exists():
            shutil.copytree(digits, project)
            told.write_text(json.dumps(asdict(run_command(["nightly", project, "--json"], environment()))))
    return Night(project, Finished(**json.loads(told.read_text())))


@pytest.fixture
def fresh(digits: Path, tmp_path: Path) -> Path:
    """An own copy of the example, before any night."""
    return Path(shutil.copytree(digits, tmp_path / "project"))


@pytest.fixture
def slept(night: Night, tmp_path: Path) -> Path:
    """An own copy of the example after a night."""
    return Path(shutil.copytree(night.project, tmp_path / "project"))
