"""Retrieval gives the exact nearest references, however many targets, blocks, duplicates or massive coordinates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.projection import neighbours
from tasks.projection.calibration import calibrate
from tasks.projection.neighbours import (
    Neighbourhoods,
    index_library,
    merge_partitions,
    nearest,
    nearest_prepared,
)
from tasks.projection.preparation import Preparation, Transform, fit_transform, within_covariance_of

modest = settings(max_examples=60, deadline=None, derandomize=True)


def library_of(seed: int, n: int, d: int, kind: str) -> tuple[np.ndarray, list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    library = rng.normal(size=(n, d))
    if kind == "common mean":
        library += 20.0 * rng.normal(size=d)
    if kind == "massive":
        library[:, : min(3, d)] *= 1000.0
    if kind == "duplicated":
        library = library[rng.integers(0, max(n // 10, 1), size=n)]
    targets = library[rng.integers(0, n, size=7)] + 0.3 * rng.normal(size=(7, d))
    targets[0] = library[n // 2]
    names = [f"reference_{i}" for i in rng.permutation(n)]
    return library.astype(np.float32), names, targets.astype(np.float32)


def brute_force(library: np.ndarray, names: list[str], targets: np.ndarray, count: int) -> Neighbourhoods:
    squares = np.square(library.astype(np.float64)[None] - targets.astype(np.float64)[:, None]).sum(axis=2)
    order = np.stack([np.lexsort((names, row)) for row in squares])[:, :count]
    return Neighbourhoods(order, np.take_along_axis(squares, order, axis=1))


kinds = st.sampled_from(["plain", "common mean", "massive", "duplicated"])


@modest
@given(seed=st.integers(0, 999), n=st.integers(1, 400), d=st.integers(1, 40), count=st.integers(1, 40), kind=kinds)
def test_the_nearest_are_those_of_a_full_float64_sort_with_ties_by_name(seed, n, d, count, kind):
    library, names, targets = library_of(seed, n, d, kind)
    found, wanted = nearest(library, names, targets, count=count), brute_force(library, names, targets, count)
    np.testing.assert_array_equal(found.indices, wanted.indices)
    scale = np.square(library - library.mean(axis=0)).sum(axis=1).mean() + 1.0
    np.testing.assert_allclose(found.squared_distances, wanted.squared_distances, rtol=1e-3, atol=1e-3 * scale)
    assert (np.diff(found.squared_distances, axis=1) >= 0.0).all()


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(neighbours, "LIBRARY_BLOCK", 64)
    monkeypatch.setattr(neighbours, "TARGET_BLOCK", 3)
    monkeypatch.setattr(neighbours, "GROUPS", 16)


@pytest.mark.parametrize("kind", ["plain", "common mean", "massive", "duplicated"])
def test_blocks_do_not_change_the_answer(small_blocks, kind):
    for seed in range(20):
        library, names, targets = library_of(seed, 500, 16, kind)
        found, wanted = nearest(library, names, targets, count=5), brute_force(library, names, targets, 5)
        np.testing.assert_array_equal(found.indices, wanted.indices)


def test_a_memory_mapped_library_gives_the_same(tmp_path):
    library, names, targets = library_of(3, 300, 8, "plain")
    np.save(tmp_path / "library.npy", library)
    mapped = np.load(tmp_path / "library.npy", mmap_mode="r")
    here, there = (nearest(matrix, names, targets, count=9) for matrix in (library, mapped))
    np.testing.assert_array_equal(here.indices, there.indices)


def test_a_target_that_is_in_the_library_is_at_distance_exactly_zero():
    library, names, targets = library_of(1, 200, 30, "common mean")
    found = nearest(library, names, targets, count=3)
    assert found.indices[0, 0] == 100
    assert found.squared_distances[0, 0] == 0.0


def transform_of(library: np.ndarray, preparation: Preparation) -> Transform:
    rng = np.random.default_rng(0)
    halves = library + rng.normal(size=(2, *library.shape))
    covariance = within_covariance_of(halves[0], halves[1], np.full(len(library), 50))
    calibration = calibrate(library, rng.uniform(0.5, 2.0, size=library.shape))
    return fit_transform(preparation, calibration, within_covariance=covariance)


@pytest.mark.parametrize("preparation", list(Preparation))
@pytest.mark.parametrize("kind", ["plain", "massive", "duplicated"])
def test_folding_the_transform_into_the_targets_is_preparing_the_library(preparation, kind):
    library, names, targets = library_of(5, 300, 12, kind)
    transform = transform_of(library, preparation)
    index = index_library(library, names, transform)
    found = nearest_prepared(library, index, targets, transform=transform, count=10)
    wanted = brute_force(transform(library), names, transform(targets), 10)
    np.testing.assert_array_equal(found.indices, wanted.indices)


@pytest.mark.parametrize("preparation", list(Preparation))
@pytest.mark.parametrize("apart", [1e-5, 1e-7])
def test_neighbours_that_float32_products_cannot_tell_apart_come_in_exact_order(preparation, apart):
    """Near copies around few points: at 1e-5 products in float64 must decide, at 1e-7 the rounded coordinates."""
    rng = np.random.default_rng(2)
    points = rng.normal(size=(6, 64)) + 5.0 * rng.normal(size=64)
    library = np.repeat(points, 40, axis=0) + apart * rng.normal(size=(240, 64))
    library, targets = library.astype(np.float32), (points + 0.3 * rng.normal(size=points.shape)).astype(np.float32)
    names = [f"reference_{i}" for i in rng.permutation(240)]
    transform = transform_of(library, preparation)
    found = nearest_prepared(library, index_library(library, names, transform), targets, transform=transform, count=60)
    wanted = brute_force(transform(library), names, transform(targets), 60)
    np.testing.assert_array_equal(found.indices, wanted.indices)
    np.testing.assert_allclose(found.squared_distances, wanted.squared_distances, rtol=1e-6)


def test_partitions_of_a_library_join_to_the_whole():
    library, names, targets = library_of(7, 300, 12, "duplicated")
    whole = nearest(library, names, targets, count=8)
    ranks = np.argsort(np.argsort(names))
    parts = []
    for rows in (slice(0, 100), slice(100, 300)):
        part = nearest(library[rows], names[rows], targets, count=8)
        exact = np.square(library[rows][part.indices].astype(float) - targets[:, None].astype(float)).sum(axis=2)
        parts.append(Neighbourhoods(part.indices + rows.start, exact))
    np.testing.assert_array_equal(merge_partitions(parts, ranks, count=8).indices, whole.indices)
