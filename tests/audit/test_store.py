"""Scores by content, results by trial, and the order of a night."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch

from tasks.audit.deltas import DeltaCosines, inner_product
from tasks.audit.features import FEATURES
from tasks.audit.schedule import stalest_first
from tasks.audit.store import Result, ScoreStore, read_results, write_results
from tasks.audit.trials import Kind, Trial
from tasks.blending.adapter import Adapter, Held, Module
from tasks.blending.factors import Layout, dense

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_scores_come_back_and_compaction_keeps_only_what_is_asked_for(tmp_path):
    store = ScoreStore(tmp_path)
    store.add({"a": np.array([0.5, 1.0]), "b": np.array([0.0])})
    store.add({"c": np.array([0.25])})
    assert {key: list(values) for key, values in store.read().items()} == {"a": [0.5, 1.0], "b": [0.0], "c": [0.25]}
    store.compact({"a", "c"})
    assert set(store.read()) == {"a", "c"}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    store.compact({"a", "c"})
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == before


def test_results_come_back_as_they_were(tmp_path):
    results = tuple(
        Result(trial, "l1 0.1", 0.25, 0.5, tuple(float(i) for i in range(len(FEATURES))), NOW)
        for trial in (Trial(Kind.LEFT_OUT, "a", None), Trial(Kind.HALF, "a", "b"))
    )
    assert read_results(tmp_path) == ()
    write_results(tmp_path, results)
    assert read_results(tmp_path) == results


def test_the_stalest_reference_is_audited_first_and_the_never_audited_before_it():
    audited_at = {"old": NOW - timedelta(days=9), "new": NOW}
    assert stalest_first(["new", "old", "never"], audited_at, seed=0) == ("never", "old", "new")
    assert set(stalest_first(list("abcdefgh"), {}, seed=0)) == set("abcdefgh")
    assert stalest_first(list("abcdefgh"), {}, seed=0) != stalest_first(list("abcdefgh"), {}, seed=1)


def adapter(seed: int, rank: int) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(rank, 7, generator=generator), torch.randn(5, rank, generator=generator)
    module = Module(Held(a), Held(b), Layout((7,), 5, (), False), rank, 0.5)
    return Adapter(name=str(seed), naming=None, config=None, modules={"layer": module}, whole={})  # type: ignore[arg-type]


def test_the_inner_product_from_factors_is_that_of_the_dense_deltas():
    first, second = adapter(0, 2), adapter(1, 3)
    deltas = [dense(one.modules["layer"].factors(torch.float64)) for one in (first, second)]
    assert inner_product(first, second) == pytest.approx(float((deltas[0] * deltas[1]).sum()))


def test_the_cosine_of_deltas_is_that_of_the_dense_ones_whichever_comes_first_and_each_adapter_is_opened_once():
    library, opened = {"one": adapter(0, 2), "other": adapter(1, 3)}, list[str]()

    def read(name: str) -> Adapter:
        opened.append(name)
        return library[name]

    cosines = DeltaCosines(read)
    flat = {name: dense(one.modules["layer"].factors(torch.float64)).flatten() for name, one in library.items()}
    expected = torch.nn.functional.cosine_similarity(flat["one"], flat["other"], dim=0)
    assert cosines.between("one", "other") == pytest.approx(float(expected))
    assert cosines.between("other", "one") == cosines.between("one", "other")
    assert cosines.between("one", "one") == pytest.approx(1.0)
    assert sorted(opened) == ["one", "other"]


def test_an_adapter_without_any_delta_is_like_no_other():
    nothing = Adapter(name="nothing", naming=None, config=None, modules={}, whole={})  # type: ignore[arg-type]
    cosines = DeltaCosines({"nothing": nothing, "one": adapter(0, 2)}.__getitem__)
    assert cosines.between("nothing", "one") == 0.0
