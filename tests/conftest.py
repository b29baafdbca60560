"""What the whole suite shares: the digits example at full effort, and one night over it."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

COMMAND = Path(sys.executable).with_name("tesserae")


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


def tesserae(*arguments: object) -> Finished:
    """Run the installed command as a user does."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    done = subprocess.run(
        [str(COMMAND), *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=500, check=False
    )
    return Finished(done.returncode, done.stdout, done.stderr)


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


@dataclass(frozen=True)
class Night:
    """A project after its first night, and what that night reported."""

    project: Path
    finished: Finished

    @property
    def report(self) -> dict[str, Any]:
        """The night's JSON report."""
        return self.finished.json


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits example, as the command makes it. Not to be changed: copy it."""
    project = tmp_path_factory.mktemp("digits") / "project"
    made = tesserae("example", project, "--domain", "digits", "--json")
    assert made.code == 0, made.err
    return project


@pytest.fixture(scope="session")
def night(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """The example after one night. Not to be changed: copy it."""
    project = tmp_path_factory.mktemp("night") / "project"
    shutil.copytree(digits, project)
    return Night(project, tesserae("nightly", project, "--json"))


@pytest.fixture
def fresh(digits: Path, tmp_path: Path) -> Path:
    """An own copy of the example, before any night."""
    return Path(shutil.copytree(digits, tmp_path / "project"))


@pytest.fixture
def slept(night: Night, tmp_path: Path) -> Path:
    """An own copy of the example after a night."""
    return Path(shutil.copytree(night.project, tmp_path / "project"))
