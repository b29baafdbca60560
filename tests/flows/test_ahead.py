"""What a command begins while its Prefect server starts, and the flow takes over."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from flows.errors import WorkspaceBusy
from flows.run import open_run, opened_ahead
from flows.settings import Project, load_project
from flows.stock import look, look_ahead
from tasks.files import InvalidInput
from tests.conftest import environment
from tests.library.projects import random_rows, save_adapter, save_base, save_samples


def write_project(root: Path) -> Project:
    save_base(root)
    for number, name in enumerate("ab"):
        save_adapter(root / "library" / name / "adapter")
        save_samples(root / "library" / name / "samples.parquet", random_rows(4, number))
    target = {"name": "target", "samples": "library/a/samples.parquet"}
    settings = {"base_model": "base", "family": "encoder", "library": "library/*", "targets": [target]}
    (root / "project.yaml").write_text(yaml.safe_dump(settings))
    return load_project(root)


def remembered(project: Project) -> dict[str, object]:
    return dict(json.loads((project.workspace / "memory.json").read_text())["digests"])


def test_a_flow_takes_over_what_was_opened_ahead_and_closes_it(tmp_path: Path):
    project = write_project(tmp_path)
    with opened_ahead(project) as ahead:
        look_ahead(ahead)
        with open_run(project.file) as run:
            assert run is ahead
            assert [reference.name for reference in run.catalogue.result().snapshot.references] == ["a", "b"]
        assert remembered(project)  # saved at the flow's end
        with open_run(project.file) as another:  # and the lock is free
            assert another is not ahead
            assert not another.catalogue.done()


def test_what_no_flow_takes_over_is_closed(tmp_path: Path):
    project = write_project(tmp_path)
    with opened_ahead(project) as ahead, pytest.raises(WorkspaceBusy), opened_ahead(project):
        pass
    with open_run(project.file) as run:
        assert run is not ahead


def test_a_flow_that_fails_remembers_nothing(tmp_path: Path):
    project = write_project(tmp_path)
    with opened_ahead(project) as ahead:
        look_ahead(ahead)
        with pytest.raises(ArithmeticError), open_run(project.file):
            raise ArithmeticError
    assert not (project.workspace / "memory.json").exists()


def test_what_the_look_refuses_is_told_by_the_flow_that_takes_it_up(tmp_path: Path):
    project = write_project(tmp_path)
    for name in "ab":
        (tmp_path / "library" / name / "samples.parquet").unlink()
    with opened_ahead(project) as ahead:
        look_ahead(ahead)
        with open_run(project.file) as run, pytest.raises(InvalidInput) as refused:
            run.catalogue.result()
        with open_run(project.file) as run, pytest.raises(InvalidInput) as looked_again:
            look(run)
    assert refused.value.problems == looked_again.value.problems


SERVED = """
    import json, sys
    from pathlib import Path
    from flows.services import healthy, prefect_server

    answered = []

    def ahead():
        import os
        answered.append(healthy(os.environ["PREFECT_API_URL"]))

    with prefect_server(Path(sys.argv[1]), scheduling=False, ahead=ahead) as url:
        from prefect.settings import get_current_settings
        answered += [healthy(url), get_current_settings().flows.heartbeat_frequency]
    print(json.dumps([*answered, healthy(url)]))
"""


@pytest.mark.services
def test_an_own_server_starts_beside_what_is_done_ahead_and_is_sent_no_heartbeats(tmp_path: Path):
    command = [sys.executable, "-c", textwrap.dedent(SERVED), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [False, True, None, False]


def test_a_run_s_seconds_leave_out_what_it_waited_for_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr("flows.stopwatch.time.monotonic", lambda: now[0])
    project = write_project(tmp_path)
    with opened_ahead(project) as ahead:
        now[0] += 2.0  # the look
        ahead.watch.pause()
        now[0] += 30.0  # the server migrates its database
        with open_run(project.file) as run:
            now[0] += 3.0
            assert run.watch.seconds == 5.0
