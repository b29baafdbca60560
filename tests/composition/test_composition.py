"""Compositions: what their identity depends on, and that the store gives back what it was given."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.composition.calibration_store import calibration_digest, read_calibration, settled_calibration
from tasks.composition.composition import Composition, Neighbour, composition_digest
from tasks.composition.store import CompositionStore
from tasks.projection.calibration import Calibration

NEAR = (Neighbour("a", 1.0, "pa", "aa"), Neighbour("b", 2.0, "pb", "ab"))
IDENTITY = {
    "target_prototype": "t",
    "neighbours": NEAR,
    "calibration": "c",
    "base_model": "m",
    "settings": {"penalty": 0.05},
    "versions": {"projection": "1"},
}


def composition(target: str, digest: str, weights: tuple[float, ...] = (1.5, -0.5)) -> Composition:
    return Composition(target, digest, "snapshot", NEAR, weights, 0.1, 0.2, 0.8, 1e-12)


@pytest.mark.parametrize("part", list(IDENTITY))
def test_the_digest_changes_with_each_thing_that_the_adapter_depends_on(part: str):
    changed = {**IDENTITY, part: NEAR[::-1] if part == "neighbours" else {"x": 1} if part[0] in "sv" else "other"}
    assert composition_digest(**changed) != composition_digest(**IDENTITY)


def test_the_distance_is_a_consequence_and_not_part_of_the_identity():
    moved = (dataclasses.replace(NEAR[0], distance=9.0), NEAR[1])
    assert composition_digest(**{**IDENTITY, "neighbours": moved}) == composition_digest(**IDENTITY)


def test_the_support_is_what_carries_weight_largest_first():
    assert composition("t", "d", (-0.5, 1.5)).support == {"b": 1.5, "a": -0.5}
    assert composition("t", "d", (1.0, 0.0)).support == {"a": 1.0}


floats = st.floats(allow_nan=False, allow_infinity=False)


@given(st.tuples(floats, floats), st.text(min_size=1))
def test_what_is_stored_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, weights: tuple, target: str):
    store = CompositionStore(tmp_path_factory.mktemp("store"))
    given_one = composition(target, "d", weights)
    store.add([given_one])
    assert store.read() == {(target, "d"): given_one}


def test_compaction_keeps_what_is_wanted_in_one_file_and_a_second_one_changes_nothing(tmp_path: Path):
    store = CompositionStore(tmp_path)
    store.add([composition("t", "old")])
    store.add([composition("t", "new"), composition("u", "d")])
    keep = {("t", "new"), ("u", "d")}
    store.compact(keep)
    assert set(store.read()) == keep
    (only,) = tmp_path.glob("*.parquet")
    stamp = only.stat().st_mtime_ns
    store.compact(keep)
    assert only.stat().st_mtime_ns == stamp


def test_a_kill_between_the_compacted_file_and_the_removal_of_the_parts_loses_and_doubles_nothing(tmp_path: Path):
    store = CompositionStore(tmp_path)
    one = composition("t", "d")
    store.add([one])
    (part,) = tmp_path.glob("part-*.parquet")
    rows = part.read_bytes()
    store.compact({("t", "d")})
    part.write_bytes(rows)  # as if the process had died before it removed the part
    assert store.read() == {("t", "d"): one}


def test_the_columns_of_the_contract_come_first(tmp_path: Path):
    CompositionStore(tmp_path).add([composition("t", "d")])
    (part,) = tmp_path.glob("*.parquet")
    result = ["penalty", "residual", "coverage", "duality_gap"]
    contract = ["target", "reference", "weight", "position", *result, "snapshot", "digest"]
    assert pq.read_schema(part).names[: len(contract)] == contract


def scaled(spread: float) -> Calibration:
    return Calibration(np.array([0.1, 0.2]), np.array([1.0, 1 / 3]), spread)


def test_a_calibration_is_kept_while_the_spread_stays_within_the_factor_and_replaced_beyond(tmp_path: Path):
    path = tmp_path / "calibration.parquet"
    first = settled_calibration(path, scaled(1.0), factor=1.5)
    assert first.spread == 1.0
    assert settled_calibration(path, scaled(1.4), factor=1.5).spread == 1.0
    assert settled_calibration(path, scaled(1 / 1.4), factor=1.5).spread == 1.0
    assert settled_calibration(path, scaled(1.6), factor=1.5).spread == 1.6
    stored = read_calibration(path)
    assert stored is not None
    assert calibration_digest(stored) == calibration_digest(scaled(1.6))


def test_a_calibration_of_another_dimension_is_replaced(tmp_path: Path):
    path = tmp_path / "calibration.parquet"
    settled_calibration(path, scaled(1.0), factor=1.5)
    other = Calibration(np.zeros(3), np.ones(3), 1.0)
    assert len(settled_calibration(path, other, factor=1.5).centre) == 3
