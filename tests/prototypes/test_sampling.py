"""Which samples are taken: seeded, no sample twice, and no more than certainty needs."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.files import InvalidInput
from tasks.library.families import Family
from tasks.prototypes.compute import compute
from tasks.prototypes.extraction import Job
from tasks.prototypes.pilot import settled_error
from tasks.prototypes.sampling import rounds, typical_distance
from tasks.prototypes.settings import Capped, ExtractionSettings, Sampling, UntilCertain
from tasks.prototypes.statistics import Prototype
from tests.prototypes.models import random_texts, save_model, save_texts
from tests.prototypes.recipes import machine, recipe_for


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model("llama", tmp_path_factory.mktemp("models") / "llama")


def extract(model: Path, samples: str, sampling: Sampling | None) -> Prototype:
    recipe = replace(recipe_for(model, family=Family.CAUSAL_LM, layers=(0,)), sampling=sampling)
    (found,), failures = compute([Job("a", "d", samples)], ExtractionSettings(recipe, machine()))
    assert failures == ()
    return found


@settings(max_examples=80, deadline=None)
@given(count=st.integers(1, 300), first=st.integers(1, 40), seed=st.integers(0, 9))
def test_the_rounds_of_a_search_for_certainty_take_every_sample_once_and_double(
    count: int, first: int, seed: int
) -> None:
    taken = list(rounds(count, UntilCertain(0.0, first, seed)))
    assert sorted(int(row) for part in taken for row in part) == list(range(count))
    assert all(np.all(np.diff(part) > 0) for part in taken)
    totals = np.cumsum([len(part) for part in taken])
    assert all(total == min(count, first * 2**turn) for turn, total in enumerate(totals))


@settings(max_examples=50, deadline=None)
@given(count=st.integers(1, 200), cap=st.integers(1, 250), seed=st.integers(0, 9))
def test_a_cap_takes_that_many_once_and_the_seed_decides_which(count: int, cap: int, seed: int) -> None:
    (rows,) = rounds(count, Capped(cap, seed))
    assert len(set(rows.tolist())) == len(rows) == min(count, cap)
    np.testing.assert_array_equal(rows, next(rounds(count, Capped(cap, seed))))


def test_every_sample_is_as_likely_under_a_cap() -> None:
    times = np.zeros(20)
    for seed in range(2000):
        times[next(rounds(20, Capped(5, seed)))] += 1
    # Each is binomial(2000, 1/4): mean 500, deviation 19.4; five deviations of the worst of twenty.
    assert np.abs(times - 500).max() < 97


def test_a_capped_prototype_is_that_of_the_chosen_rows(model: Path, tmp_path: Path) -> None:
    texts = random_texts(40, 1)
    (rows,) = rounds(40, Capped(10, 3))
    found = extract(model, save_texts(tmp_path / "all.parquet", texts), Capped(10, 3))
    alone = extract(model, save_texts(tmp_path / "some.parquet", [texts[row] for row in rows]), None)
    assert found.count == 10
    for part in ("prototype", "half_a", "half_b", "within_std"):
        np.testing.assert_allclose(getattr(found, part), getattr(alone, part), rtol=0, atol=1e-7)


def test_a_cap_beyond_the_samples_changes_nothing(model: Path, tmp_path: Path) -> None:
    samples = save_texts(tmp_path / "s.parquet", random_texts(12, 1))
    np.testing.assert_array_equal(extract(model, samples, Capped(99, 0)).half_a, extract(model, samples, None).half_a)


def test_sampling_stops_at_the_first_round_that_is_certain_enough(model: Path, tmp_path: Path) -> None:
    samples = save_texts(tmp_path / "s.parquet", random_texts(200, 2))
    whole = extract(model, samples, None)
    spread = whole.standard_error * np.sqrt(200)  # the error of n samples is near spread / sqrt(n)
    found = extract(model, samples, UntilCertain(spread / np.sqrt(24), 8, 0))
    # 8 samples are not enough and 64 are plenty; whether 16 or 32 suffice is the draw's.
    assert found.count in (16, 32, 64)
    assert found.standard_error <= spread / np.sqrt(24)
    before = extract(model, samples, Capped(found.count // 2, 0))
    assert before.standard_error > spread / np.sqrt(24)


def test_out_of_reach_certainty_takes_every_sample(model: Path, tmp_path: Path) -> None:
    samples = save_texts(tmp_path / "s.parquet", random_texts(30, 2))
    found, whole = extract(model, samples, UntilCertain(0.0, 4, 0)), extract(model, samples, None)
    assert found.count == 30
    np.testing.assert_allclose(found.prototype, whole.prototype, rtol=0, atol=1e-6)


def test_the_typical_distance_by_hand() -> None:
    # On a line at 0, 1, 3 and 103: nearest distances 1, 1, 2 and 100; their median is 1.5.
    points = np.array([[0.0], [1.0], [3.0], [103.0]]) + 1e4
    assert typical_distance(points) == pytest.approx(1.5, rel=1e-9)


def test_rounds_are_lazy() -> None:
    assert len(next(islice(rounds(10**6, UntilCertain(0.0, 8, 0)), 1))) == 8


def test_the_scale_of_certainty_is_measured_once_for_a_recipe(model: Path, tmp_path: Path) -> None:
    calls: list[int] = []

    def pilot() -> np.ndarray:
        calls.append(1)
        return np.array([[0.0], [2.0], [4.0]])

    recipe = recipe_for(model, family=Family.CAUSAL_LM)
    file = tmp_path / "pilot.json"
    for share, expected in ((0.1, 0.2), (0.5, 1.0)):
        assert settled_error(file, pilot_recipe=recipe, share=share, pilot=pilot) == pytest.approx(expected)
    assert len(calls) == 1
    settled_error(file, pilot_recipe=replace(recipe, layers=(1,)), share=0.1, pilot=pilot)
    assert len(calls) == 2


def test_siblings_do_not_shrink_the_typical_distance() -> None:
    points = np.array([[0.0], [1.0], [3.0], [103.0]])
    assert typical_distance(np.repeat(points, 5, axis=0)) == pytest.approx(1.5)


@pytest.mark.parametrize("same", [0, 1, 3])
def test_references_that_do_not_differ_have_no_distance(same: int) -> None:
    with pytest.raises(InvalidInput, match="`auto` measures how far references lie apart"):
        typical_distance(np.ones((same, 2)))


def test_of_a_large_library_some_references_are_looked_at_and_all_are_candidates() -> None:
    pairs = np.arange(3000, dtype=float).repeat(2)[:, None] * 10.0
    pairs[1::2] += 1.0  # each has its one near neighbour, looked at or not
    assert typical_distance(pairs) == pytest.approx(1.0)
