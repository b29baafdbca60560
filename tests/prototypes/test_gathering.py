"""Vectors brought from many files into one order: each where it belongs, and never all of them in memory."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.prototypes.gathering import ROWS, Source, gathered, vectors_of

SIZE = 2


def write(path: Path, vectors: np.ndarray, *, group: int = ROWS) -> Path:
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float32).reshape(-1)), vectors.shape[1])
    pq.write_table(pa.table({"vector": column}), path, row_group_size=group)
    return path


@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4), group=st.integers(1, 7), data=st.data())
@settings(max_examples=25, deadline=None)
def test_every_wanted_row_of_every_file_gets_its_position(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], group: int, data: st.DataObject
):
    directory = tmp_path_factory.mktemp("files")
    starts = np.cumsum([0, *sizes])
    everything = np.arange(starts[-1] * SIZE).reshape(-1, SIZE)  # a row's values tell which one it is
    wanted = np.array(data.draw(st.lists(st.integers(0, int(starts[-1]) - 1), min_size=1, max_size=40)))
    sources = []
    for file, (start, stop) in enumerate(pairwise(starts)):
        path = write(directory / f"{file}.parquet", everything[start:stop], group=group)
        positions = np.flatnonzero((wanted >= start) & (wanted < stop))
        positions = positions[np.argsort(wanted[positions], kind="stable")]
        sources.append(Source(path, wanted[positions] - start, positions))
    found = gathered("vector", sources, len(wanted), directory=directory)
    np.testing.assert_array_equal(vectors_of(found), everything[wanted])


def test_nothing_of_the_mapping_is_left_in_the_directory(tmp_path: Path):
    path = write(tmp_path / "a.parquet", np.ones((3, SIZE)))
    found = gathered("vector", [Source(path, np.arange(3), np.arange(3))], 3, directory=tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(vectors_of(found), 1.0)


MEASURE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
import numpy as np, pyarrow as pa
from tasks.prototypes.matrix import mapped
from tasks.prototypes.statistics import Prototype
from tasks.prototypes.store import PrototypeStore

store, names = PrototypeStore(Path(sys.argv[1])), [f"r{number:05d}" for number in range(40_000)]
for first in range(0, len(names), 4000):
    part = [
        Prototype(name, name, "base", "", "-1", "mean", 1, *vectors[:3], 0.1, vectors[3])
        for name, vectors in zip(names[first:], np.random.default_rng(first).normal(size=(4000, 4, 256)), strict=False)
    ]
    store.write_part(part, str(first), now=datetime.now(UTC))
compacted = store.compact([(name, name) for name in names])
assert mapped(compacted).prototypes.shape == (40_000, 256)
print(pa.default_memory_pool().max_memory())
"""


def test_compacting_and_mapping_take_less_memory_than_one_of_the_four_columns(tmp_path: Path):
    # A process of its own, since Arrow's peak is that of the process. A column holds 40,000 x 256 floats, 41 MB.
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 41e6
