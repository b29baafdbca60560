"""Memory of the prototype store at the size of a large library; every step in a process of its own.

`python -m tests.benchmarks.store --json [--references 100000] [--size 1024]` prints one JSON object a line: seconds,
the process's peak (`peak_mb`), and the peak of what it holds of its own (`own_mb`, looked at every 5 ms), which no page
of a mapped file is: those the system writes out or drops when it needs the room. Linux only, by /proc/self/status.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from tasks.prototypes.matrix import mapped
from tasks.prototypes.statistics import Prototype
from tasks.prototypes.store import PrototypeStore
from tests.benchmarks.timing import private_megabytes

SHARD = 5000  # references of one part


class OwnPeak(threading.Thread):
    """Looks at this process's own memory until it is stopped, and keeps the largest value, MB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()
        self.megabytes = 0.0

    def run(self) -> None:
        """Look, until stopped."""
        while not self._ended.wait(0.005):
            self.megabytes = max(self.megabytes, private_megabytes())

    def stop(self) -> float:
        """End, and say what was found."""
        self._ended.set()
        self.join()
        return self.megabytes


def prototype(number: int, vectors: np.ndarray) -> Prototype:
    """A made-up reference with its four vectors."""
    mean, half_a, half_b, deviation = vectors
    name, digest = f"r{number:07d}", f"{number:032x}"
    return Prototype(name, digest, "base", "", "last", "mean", 10, mean, half_a, half_b, 0.1, deviation)


def write(directory: Path, references: int, size: int) -> None:
    """Fill the store part by part."""
    generator, store = np.random.default_rng(0), PrototypeStore(directory)
    for first in range(0, references, SHARD):
        vectors = generator.standard_normal((min(SHARD, references - first), 4, size), dtype=np.float32)
        part = [prototype(first + row, own) for row, own in enumerate(vectors)]
        store.write_part(part, f"{first:07d}", now=datetime.now(UTC))


def compact(directory: Path, references: int, size: int) -> None:
    """Bring all parts into one file."""
    PrototypeStore(directory).compact([(f"r{number:07d}", f"{number:032x}") for number in range(references)])


def read(directory: Path, references: int, size: int) -> None:
    """Map the matrix and multiply all of it; the first reader makes the copy that is mapped."""
    (compacted,) = directory.glob("compacted-*.parquet")
    matrix = mapped(compacted).prototypes
    if (matrix @ matrix[0]).shape != (references,):
        raise SystemExit(f"the store holds {len(matrix)} prototypes, not {references}")


def _measured(step: Callable[..., None], arguments: tuple[Any, ...], answer: Connection) -> None:
    own, started = OwnPeak(), time.perf_counter()
    own.start()
    step(*arguments)
    seconds, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer.send({"ours_s": round(seconds, 2), "peak_mb": round(peak), "own_mb": round(own.stop())})


def in_a_process(step: Callable[..., None], *arguments: Any) -> dict[str, Any]:
    """What a step took in a new process."""
    context = multiprocessing.get_context("spawn")
    answer, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(step, arguments, theirs))
    process.start()
    theirs.close()
    found: dict[str, Any] = answer.recv()
    process.join()
    return found


def main() -> None:
    """Run the steps and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the only form there is")
    parser.add_argument("--references", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=1024)
    asked = parser.parse_args()
    matrix_mb = asked.references * asked.size * 4 // 2**20
    steps = {"write the parts": write, "compact": compact, "map for the first time": read, "map again": read}
    with tempfile.TemporaryDirectory() as folder:
        for name, step in steps.items():
            found = in_a_process(step, Path(folder), asked.references, asked.size)
            case = f"{name}: {asked.references} x {asked.size}, {matrix_mb} MB a vector column"
            print(json.dumps({"case": case, **found, "peer": None, "ratio": None, "error": None}), flush=True)


if __name__ == "__main__":
    main()
