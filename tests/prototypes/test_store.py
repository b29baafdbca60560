"""The store: readable by any Parquet reader, compacted without a moment in which something is missing."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tasks.prototypes.store
from tasks.prototypes.statistics import Prototype
from tasks.prototypes.store import PrototypeStore

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def prototype(name: str, size: int = 3) -> Prototype:
    vector = np.random.default_rng(list(name.encode())).normal(size=(4, size)).astype(np.float32)
    return Prototype(
        name, f"digest-{name}", "base", "rev", "-1", "mean", 5, vector[0], vector[1], vector[2], 0.5, vector[3]
    )


def same(first: Prototype, second: Prototype) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in Prototype.__slots__)


def test_a_part_has_the_columns_of_the_contract(tmp_path: Path) -> None:
    part = PrototypeStore(tmp_path).write_part([prototype("a")], "s", now=NOW)
    vector = pa.list_(pa.float32(), 3)
    assert pq.read_schema(part).remove_metadata() == pa.schema(
        [(name, pa.string()) for name in ("name", "digest", "base_model", "revision", "layer", "pooling")]
        + [("count", pa.int64()), ("prototype", vector), ("half_a", vector), ("half_b", vector)]
        + [("standard_error", pa.float32()), ("within_std", vector), ("created_at", pa.timestamp("us", tz="UTC"))]
    )
    assert pd.read_parquet(part)["created_at"][0] == pd.Timestamp(NOW)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = PrototypeStore(tmp_path)
    store.write_part([prototype("a"), prototype("b")], "one", now=NOW)
    store.write_part([prototype("c")], "two", now=NOW)
    found = store.read()
    assert store.digests() == set(found) == {"digest-a", "digest-b", "digest-c"}
    assert all(same(found[f"digest-{name}"], prototype(name)) for name in "abc")


def test_compaction_keeps_what_is_asked_in_that_order_under_those_names(tmp_path: Path) -> None:
    store = PrototypeStore(tmp_path)
    store.write_part([prototype("a"), prototype("b")], "one", now=NOW)
    store.write_part([prototype("c")], "two", now=NOW)
    store.write_part([prototype("d", size=9)], "three", now=NOW)  # from other settings
    keep = [("see", "digest-c"), ("a", "digest-a"), ("twin", "digest-a"), ("new", "digest-new")]
    final = store.compact(keep)
    assert [path for path in tmp_path.iterdir() if path.suffix == ".parquet"] == [final]
    table = pq.read_table(final)
    assert table["name"].to_pylist() == ["see", "a", "twin"]
    assert same(store.read()["digest-c"], replace(prototype("c"), name="see"))
    assert store.compact(keep) == final


def test_compaction_brings_rows_of_several_row_groups_into_another_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.prototypes.store, "ROWS", 1)  # else one group holds thousands
    store = PrototypeStore(tmp_path)
    store.write_part([prototype("a"), prototype("b"), prototype("c")], "one", now=NOW)
    store.compact([(name, f"digest-{name}") for name in "cab"])
    assert all(same(store.read()[f"digest-{name}"], prototype(name)) for name in "abc")


def test_what_came_late_is_kept_by_the_next_compaction(tmp_path: Path) -> None:
    store = PrototypeStore(tmp_path)
    keep = [("a", "digest-a"), ("b", "digest-b")]
    store.write_part([prototype("a")], "one", now=NOW)
    store.compact(keep)
    store.write_part([prototype("b")], "two", now=NOW)
    store.compact(keep)
    assert store.digests() == {"digest-a", "digest-b"}


def test_compacting_an_empty_store_does_nothing(tmp_path: Path) -> None:
    assert PrototypeStore(tmp_path).compact([("a", "digest-a")]) is None
    assert PrototypeStore(tmp_path / "none").read() == {}
