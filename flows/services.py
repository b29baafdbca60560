"""The one service a run needs, a Prefect server.

An existing one where PREFECT_API_URL names it, else an own one for as long as the run lasts.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flows.environment import exported, unset_among
from tasks.files import InvalidInput, Problem

START_UP_LIMIT = 180.0  # seconds; a first start on a loaded machine migrates a database for about 20
_QUIET = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "TOKENIZERS_PARALLELISM": "false",  # it deadlocks, with a warning, in processes that Dask starts
    "TRANSFORMERS_VERBOSITY": "error",  # else every load reports the head that an encoder leaves out
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYTHONWARNINGS": "ignore::FutureWarning",  # of libraries about each other; the tests see them
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",  # its pages keep everything
}


def free_port() -> int:
    """A TCP port of the loopback address that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def die_with_parent() -> None:
    """Ask Linux to end this child when its parent is gone, so that even `kill -9` of a run leaves no server behind."""
    os.setsid()  # Ctrl-C reaches the run alone, which then ends the server in order
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def healthy(url: str) -> bool:
    """Whether a Prefect API answers at this URL."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_UP_LIMIT
    while not healthy(url):
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the Prefect server did not start within {START_UP_LIMIT:.0f} s; its log is {log}")
        time.sleep(0.05)
    with contextlib.suppress(OSError):  # its first answer takes it half a second, which a flow would wait for
        urllib.request.urlopen(f"{url}/admin/version", timeout=10).close()


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _environment(home: Path, url: str) -> dict[str, str]:
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_UI_API_URL": url,  # without it the pages of a server on another port than 4200 stay empty
    }


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep libraries from calling home, and from talking about each other; what the user has set stays."""
    with exported(unset_among(_QUIET)):
        yield


def _check_existing(url: str) -> None:
    if not healthy(url):
        raise InvalidInput(
            Problem(
                "PREFECT_API_URL",
                f"no Prefect server answers at {url}",
                "start it, or unset the variable to let the command start its own",
            )
        )


@contextlib.contextmanager
def prefect_server(
    workspace: Path, *, scheduling: bool, ahead: Callable[[], object], port: int | None = None
) -> Iterator[str]:
    """Yield the URL of a running Prefect API and export it; a server started here is stopped here.

    `ahead` is called while an own server starts, which takes seconds. Prefect, and what needs it, must not be imported
    earlier: it reads its settings once, at import.
    """
    existing = os.environ.get("PREFECT_API_URL")
    with quiet_libraries():
        if existing:
            _check_existing(existing)
            ahead()
            yield existing
            return
        home = workspace / "prefect"
        home.mkdir(parents=True, exist_ok=True)
        port = port or free_port()
        with exported(_environment(home, f"http://127.0.0.1:{port}/api")):
            yield from _own_server(home, port, scheduling=scheduling, ahead=ahead)


def _own_server(home: Path, port: int, *, scheduling: bool, ahead: Callable[[], object]) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}/api"
    log = home / "server.log"
    services = {} if scheduling else {"PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false"}
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning", "--timeout-keep-alive", "30"]
    with log.open("ab") as output:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **services},
            preexec_fn=die_with_parent,
        )
    beside = ThreadPoolExecutor(1)
    try:
        ready = beside.submit(_wait_until_ready, url, server, log)
        ahead()
        ready.result()
        with _no_heartbeats():
            yield url
    finally:
        _send_last_logs()
        _stop(server)
        beside.shutdown()  # a server that is gone is not waited for


@contextlib.contextmanager
def _no_heartbeats() -> Iterator[None]:
    """Leave out the signs of life that flows send: this server ends with its run, and nobody reads them.

    A flow waits up to a second at its end for the thread that sends them.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def _send_last_logs() -> None:
    """Hand over what Prefect still has queued; else it tries for a minute after the server is gone, and loses it."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=5)
    EventsWorker.drain_all(timeout=5)
