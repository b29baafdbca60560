"""The memory-mapped copy says what the Parquet file says, and nothing of it is copied."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.prototypes.matrix import MappedPrototypes, mapped, no_prototypes
from tasks.prototypes.statistics import Prototype
from tasks.prototypes.store import PrototypeStore, schema
from tests.prototypes.test_store import NOW, prototype


def stored(directory: Path, names: str) -> MappedPrototypes:
    store = PrototypeStore(directory)
    store.write_part([prototype(name) for name in names], "one", now=NOW)
    compacted = store.compact([(name, f"digest-{name}") for name in names])
    assert compacted is not None
    return mapped(compacted)


def test_the_copy_is_the_compacted_file_in_its_order(tmp_path: Path) -> None:
    store = PrototypeStore(tmp_path)
    store.write_part([prototype(name) for name in "abc"], "one", now=NOW)
    compacted = store.compact([(name, f"digest-{name}") for name in "cab"])
    assert compacted is not None
    found = mapped(compacted)
    assert list(found) == list("cab")
    assert found.digests == [f"digest-{name}" for name in "cab"]
    np.testing.assert_array_equal(found.prototypes, [prototype(name).prototype for name in "cab"])
    np.testing.assert_array_equal(found.within_std, [prototype(name).within_std for name in "cab"])
    assert found.counts.tolist() == [5, 5, 5]


def test_a_mapped_prototype_is_the_stored_one_in_every_field(tmp_path: Path) -> None:
    found, store = stored(tmp_path, "cab"), PrototypeStore(tmp_path).read()
    for name in "cab":
        one, other = found[name], store[f"digest-{name}"]
        for field in fields(Prototype):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_the_directory_is_still_readable_as_parquet_as_a_whole(tmp_path: Path) -> None:
    stored(tmp_path, "cab")
    assert pq.read_table(tmp_path)["name"].to_pylist() == list("cab")


def test_a_part_of_the_rows_is_a_library_of_its_own(tmp_path: Path) -> None:
    part = stored(tmp_path, "cab").between(1, 3)
    assert list(part) == ["a", "b"]
    assert "c" not in part
    np.testing.assert_array_equal(part.prototypes, [prototype(name).prototype for name in "ab"])
    np.testing.assert_array_equal(part.half_b, [prototype(name).half_b for name in "ab"])
    np.testing.assert_array_equal(part["b"].half_a, prototype("b").half_a)


def test_nothing_is_a_library_too() -> None:
    assert len(no_prototypes()) == 0
    assert no_prototypes().prototypes.shape == (0, 0)


def test_a_newer_compaction_replaces_the_copy(tmp_path: Path) -> None:
    store = PrototypeStore(tmp_path)
    store.write_part([prototype(name) for name in "ab"], "one", now=NOW)
    for keep in ("ab", "b"):
        compacted = store.compact([(name, f"digest-{name}") for name in keep])
        assert compacted is not None
        assert list(mapped(compacted)) == list(keep)
    assert len(list(tmp_path.glob("*.arrow"))) == 1


def test_many_references_are_mapped_and_not_copied(tmp_path: Path) -> None:
    count, size = 20_000, 256
    shape = schema(size)
    vectors = np.random.default_rng(0).normal(size=count * size).astype(np.float32)
    vector = pa.FixedSizeListArray.from_arrays(pa.array(vectors), size)
    names = pa.array([f"reference-{row}" for row in range(count)])
    columns = {field.name: names if field.type == pa.string() else pa.nulls(count, field.type) for field in shape}
    columns |= {"count": pa.array(np.ones(count, np.int64)), "standard_error": pa.array(np.ones(count, np.float32))}
    columns |= {name: vector for name in ("prototype", "half_a", "half_b", "within_std")}
    compacted = tmp_path / "compacted-x.parquet"
    pq.write_table(pa.table(columns, schema=shape), compacted)
    mapped(compacted)
    allocated = pa.total_allocated_bytes()
    found = mapped(compacted)
    assert pa.total_allocated_bytes() == allocated
    assert not found.prototypes.flags.owndata
    assert not found.prototypes.flags.writeable
    np.testing.assert_array_equal(found.prototypes[-1], vectors[-size:])


@pytest.mark.parametrize("rows", [1, 3])
def test_a_small_store_is_mapped_as_well(tmp_path: Path, rows: int) -> None:
    assert stored(tmp_path, "abc"[:rows]).prototypes.shape == (rows, 3)
