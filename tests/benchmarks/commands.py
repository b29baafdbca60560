"""What benchmarks of whole commands measure: a command as a user runs it, and plain processes that do bare work."""

import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def tesserae(*arguments: object) -> tuple[dict[str, Any], float]:
    """A command's report, and its seconds from the start of its process to the end."""
    command = [str(Path(sys.executable).with_name("tesserae")), *map(str, arguments), "--json"]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr[-4000:])
    return dict(json.loads(done.stdout)), time.perf_counter() - started


def seconds_of_processes(work: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> float:
    """Seconds from the start of one new process for each of `arguments` to the end of the last."""
    context = multiprocessing.get_context("spawn")
    started = time.perf_counter()
    processes = [context.Process(target=work, args=one) for one in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a plain process failed")
    return time.perf_counter() - started
