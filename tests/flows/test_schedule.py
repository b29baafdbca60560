"""A scheduled night fires and succeeds, on a real Prefect server."""

import json
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from flows.services import free_port
from tests.conftest import COMMAND, environment, wait_until

pytestmark = pytest.mark.services


def flow_runs(port: int) -> list[dict]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/flow_runs/filter",
        data=json.dumps({"sort": "ID_DESC", "limit": 20, "offset": 0}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return []


def states(port: int) -> list[str]:
    return [run["state"]["type"] for run in flow_runs(port) if run["state"]]


def test_a_night_served_every_minute_fires_and_succeeds(slept: Path):
    port = free_port()
    server = subprocess.Popen(
        [str(COMMAND), "schedule", str(slept), "--cron", "* * * * *", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        start_new_session=True,
    )
    try:
        wait_until(lambda: "COMPLETED" in states(port), limit=300, what="a completed scheduled run")
        assert not {"FAILED", "CRASHED"} & set(states(port))
    finally:
        server.send_signal(signal.SIGINT)
        said, _ = server.communicate(timeout=120)
    assert b"Traceback" not in said, said.decode()
