"""The memory-mapped copy says what the Parquet file says, and nothing of it is copied."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.prototypes.matrix import mapped
from tasks.prototypes.store import PrototypeStore, schema
from tests.prototypes.test_store import NOW, prototype


def test_the_copy_is_the_compacted_file_in_its_order(tmp_path: Path) -> None:
    store = PrototypeStore(tmp_path)
    store.write_part([prototype(name) for name in "abc"], "one", now=NOW)
    compacted = store.compact([(name, f"digest-{name}") for name in "cab"])
    assert compacted is not None
    found = mapped(compacted)
    assert found.names.to_pylist() == list("cab")
    assert found.digests.to_pylist() == [f"digest-{name}" for name in "cab"]
    np.testing.assert_array_equal(found.prototypes, [prototype(name).prototype for name in "cab"])
    np.testing.assert_array_equal(found.within_std, [prototype(name).within_std for name in "cab"])
    assert found.counts.tolist() == [5, 5, 5]
    assert found.standard_errors.tolist() == [0.5, 0.5, 0.5]


def test_a_newer_compaction_replaces_the_copy(tmp_path: Path) -> None:
    store = PrototypeStore(tmp_path)
    store.write_part([prototype(name) for name in "ab"], "one", now=NOW)
    for keep in ("ab", "b"):
        compacted = store.compact([(name, f"digest-{name}") for name in keep])
        assert compacted is not None
        assert mapped(compacted).names.to_pylist() == list(keep)
    assert len(list(tmp_path.glob("*.arrow"))) == 1


def test_many_references_are_mapped_and_not_copied(tmp_path: Path) -> None:
    count, size = 20_000, 256
    shape = schema(size)
    vectors = np.random.default_rng(0).normal(size=count * size).astype(np.float32)
    vector = pa.FixedSizeListArray.from_arrays(pa.array(vectors), size)
    names = pa.array([f"reference-{row}" for row in range(count)])
    columns = {field.name: names if field.type == pa.string() else pa.nulls(count, field.type) for field in shape}
    columns |= {"count": pa.array(np.ones(count, np.int64)), "standard_error": pa.array(np.ones(count, np.float32))}
    columns |= {name: vector for name in ("prototype", "within_std")}
    compacted = tmp_path / "compacted-x.parquet"
    pq.write_table(pa.table(columns, schema=shape), compacted)
    mapped(compacted)
    allocated = pa.total_allocated_bytes()
    found = mapped(compacted)
    assert pa.total_allocated_bytes() == allocated
    assert found.prototypes.base is not None
    assert not found.prototypes.flags.owndata
    assert not found.prototypes.flags.writeable
    np.testing.assert_array_equal(found.prototypes[-1], vectors[-size:])


@pytest.mark.parametrize("rows", [1, 3])
def test_a_small_store_is_mapped_as_well(tmp_path: Path, rows: int) -> None:
    store = PrototypeStore(tmp_path)
    names = "abc"[:rows]
    store.write_part([prototype(name) for name in names], "one", now=NOW)
    compacted = store.compact([(name, f"digest-{name}") for name in names])
    assert compacted is not None
    assert mapped(compacted).prototypes.shape == (rows, 3)
