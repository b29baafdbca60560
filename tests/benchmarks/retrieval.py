"""Exact retrieval against the bare matrix product and faiss: `python -m tests.benchmarks.retrieval --json`.

One thread, process CPU time, medians of alternating runs, d = 1024, the 32 nearest. The library is a memory-mapped .npy
file of random prototypes with a common mean, written in TMPDIR and deleted (4.1 GB at a million references). Ours is
given its index (lengths and name order, made once per snapshot; the note has the time), faiss its vectors in
memory. `error` is the share of neighbours in which ours and faiss differ, `floor_s` the bare product of the library's
blocks with the targets. The note also gives peak resident memory above what the process had before, mapped pages apart.
"""

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tasks.projection.neighbours import LIBRARY_BLOCK, index_library, nearest_prepared
from tasks.projection.preparation import Transform
from tests.benchmarks.timing import (
    Result,
    alternate,
    arguments,
    machine,
    one_thread,
    private_megabytes,
    report,
    result,
    seconds,
)

D, COUNT = 1024, 32


def write_library(path: Path, references: int, *, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=D).astype(np.float32) * np.float32(5.0 / np.sqrt(D))
    library = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(references, D))
    for first in range(0, references, LIBRARY_BLOCK):
        block = library[first : first + LIBRARY_BLOCK]
        block[:] = rng.standard_normal(size=block.shape, dtype=np.float32) / np.float32(np.sqrt(D)) + mean
    library.flush()


class Peak:
    """The largest private memory seen at the start of any library block."""

    def __init__(self) -> None:
        self.before = private_megabytes()
        self.most = self.before

    def look(self) -> None:
        self.most = max(self.most, private_megabytes())

    @property
    def above(self) -> float:
        return self.most - self.before


class Watched:
    """A library whose reader is asked for its memory at every block."""

    def __init__(self, library: np.ndarray, peak: Peak) -> None:
        self.library, self.peak = library, peak
        self.shape = library.shape

    def __len__(self) -> int:
        return len(self.library)

    def __getitem__(self, rows: object) -> np.ndarray:
        self.peak.look()
        return self.library[rows]


def case(folder: Path, references: int, target_counts: tuple[int, ...], runs: int) -> Iterator[Result]:
    path = folder / f"{references}.npy"
    write_library(path, references, seed=references)
    library = np.load(path, mmap_mode="r")
    names = [f"{i:07d}" for i in range(references)]
    transform = Transform(library[: 10 * COUNT].mean(axis=0).astype(np.float64), np.ones(D), None, False)
    made: list = []
    indexing = seconds(lambda: made.append(index_library(library, names, transform)))
    index = made[0]
    rng = np.random.default_rng(1)
    for count in target_counts:
        picks = np.sort(rng.choice(references, size=count, replace=False))
        targets = library[picks] + 0.3 * rng.standard_normal(size=(count, D), dtype=np.float32) / np.float32(np.sqrt(D))
        buffer = np.empty((min(count, 256), LIBRARY_BLOCK), dtype=np.float32)

        def product(targets: np.ndarray = targets, buffer: np.ndarray = buffer) -> None:
            for some in range(0, len(targets), 256):
                block_of_targets = targets[some : some + 256]
                for first in range(0, references, LIBRARY_BLOCK):
                    block = library[first : first + LIBRARY_BLOCK]
                    np.matmul(block_of_targets, block.T, out=buffer[: len(block_of_targets), : len(block)])

        found: list = []

        def ours(targets: np.ndarray = targets, found: list = found) -> None:
            found[:] = [nearest_prepared(library, index, targets, transform=transform, count=COUNT)]

        ours_s, floor_s = alternate(ours, product, runs=runs, ours_items=count, peer_items=count)
        gc.collect()
        peak = Peak()
        nearest_prepared(Watched(library, peak), index, targets, transform=transform, count=COUNT)  # type: ignore[arg-type]
        yield result(
            f"{references} references, {count} targets",
            ours_s,
            "the bare matrix product",
            floor_s,
            floor_s=floor_s,
            asked="ours at most 1.3 x, ratio >= 0.77",
            note=f"{peak.above:.0f} MB above the mapped file, index made in {indexing:.1f} s",
        )
        yield against_faiss(library, targets, found[0].indices, ours_s, floor_s)
    path.unlink()


def against_faiss(
    library: np.ndarray, targets: np.ndarray, indices: np.ndarray, ours_s: float, floor_s: float
) -> Result:
    import faiss

    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatL2(D)
    for first in range(0, len(library), LIBRARY_BLOCK):
        flat.add(np.ascontiguousarray(library[first : first + LIBRARY_BLOCK]))
    answers: list = []
    peer_s = seconds(lambda: answers.append(flat.search(targets, COUNT))) / len(targets)
    same = np.mean([len(np.intersect1d(a, b)) / COUNT for a, b in zip(indices, answers[0][1], strict=True)])
    return result(
        f"{len(library)} references, {len(targets)} targets",
        ours_s,
        "faiss IndexFlatL2",
        peer_s,
        floor_s=floor_s,
        error=float(1.0 - same),
    )


def main() -> None:
    asked = arguments(__doc__ or "")
    if not asked.json:
        print(machine())
    sizes = (2_000,) if asked.quick else (10_000, 100_000, 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        for references in sizes:
            if asked.only and asked.only != str(references):
                continue
            runs = 1 if references > 500_000 or asked.quick else 3
            for found in case(Path(folder), references, (100, 1000), runs):
                report(found, as_json=asked.json)


if __name__ == "__main__":
    one_thread()
    main()
