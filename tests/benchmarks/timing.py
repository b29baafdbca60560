"""Alternating timed runs of two ways to do one thing, and the JSON lines in which their times are reported.

The clock is the process's CPU time by default: with threads fixed it does not see what else the machine is doing,
except through caches and memory. Threads are fixed by the environment (OMP_NUM_THREADS and its kin); `one_thread`
starts the program again with them.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True)
class Result:
    """One line of a benchmark: seconds per item, ratio = peer_s / ours_s, floor_s what the hardware allows if known."""

    case: str
    ours_s: float
    peer: str
    peer_s: float
    ratio: float
    floor_s: float | None
    error: float | None
    asked: str
    note: str


def one_thread() -> None:
    """Restart the program with one thread for every numerical library, unless it runs so already."""
    if all(os.environ.get(name) == "1" for name in THREADS):
        return
    import sys

    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    os.execve(sys.executable, [sys.executable, "-m", sys.modules["__main__"].__spec__.name, *sys.argv[1:]], environment)


def until_done(work: Callable[[], object], device: str) -> Callable[[], None]:
    """`work`, and then the wait until the torch device has done it."""

    def run() -> None:
        work()
        if device.startswith("cuda"):
            import torch

            torch.cuda.synchronize()

    return run


def alternate(
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    runs: int,
    ours_items: int,
    peer_items: int,
    clock: Callable[[], float] = time.process_time,
) -> tuple[float, float]:
    """Median seconds per item of `ours` and `peer`, run in turns after one untimed run of each."""
    ours(), peer()
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(runs):
        times["ours"].append(seconds(ours, clock=clock) / ours_items)
        times["peer"].append(seconds(peer, clock=clock) / peer_items)
    return statistics.median(times["ours"]), statistics.median(times["peer"])


def seconds(work: Callable[[], object], *, clock: Callable[[], float] = time.process_time) -> float:
    """Seconds that one call takes."""
    began = clock()
    work()
    return clock() - began


def private_megabytes() -> float:
    """Resident memory that is not a file's pages, MB."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024.0


def result(
    case: str,
    ours_s: float,
    peer: str,
    peer_s: float,
    *,
    floor_s: float | None = None,
    error: float | None = None,
    asked: str = "",
    note: str = "",
) -> Result:
    return Result(case, ours_s, peer, peer_s, peer_s / ours_s, floor_s, error, asked, note)


def arguments(description: str) -> argparse.Namespace:
    """The two options every benchmark has: --json, and --only SUBSTRING of the cases to run."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    parser.add_argument("--only", default="", help="run only the cases whose name contains this")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to see that it runs; its numbers mean nothing"
    )
    return parser.parse_args()


def report(found: Result, *, as_json: bool) -> None:
    """Print one result at once, so that a long benchmark shows where it is."""
    if as_json:
        print(json.dumps(asdict(found)), flush=True)
        return
    floor = "" if found.floor_s is None else f", floor {found.floor_s * 1e6:,.1f} us"
    error = "" if found.error is None else f", error {found.error:.1e}"
    asked = f" (asked: {found.asked})" if found.asked else ""
    print(
        f"{found.case}: {found.ours_s * 1e6:,.1f} us against {found.peer} {found.peer_s * 1e6:,.1f} us, "
        f"ratio {found.ratio:,.2f}{asked}{floor}{error} {found.note}",
        flush=True,
    )


def machine() -> str:
    """The processor and the versions that matter for a number."""
    model = "unknown processor"
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores, numpy {np.__version__}"
