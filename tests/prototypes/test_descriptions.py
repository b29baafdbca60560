"""A description tells tasks apart that have the same samples."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.library.families import Family
from tasks.prototypes.compute import compute
from tasks.prototypes.extraction import Job, prototype_digest
from tasks.prototypes.settings import DescriptionPart, ExtractionSettings, Recipe
from tests.prototypes.models import random_pixels, save_model, save_pixels, save_texts
from tests.prototypes.recipes import machine, recipe_for


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for name in ("sam", "bert"):
        save_model(name, root / name)
    save_pixels(root / "cells.parquet", random_pixels("sam", 5, 0))
    return root


def sam_with_bert(root: Path, weight: float) -> Recipe:
    part = DescriptionPart(weight, recipe_for(root / "bert").encoder)
    return replace(recipe_for(root / "sam", family=Family.SEGMENTATION), description=part)


def test_the_description_stands_behind_the_samples_with_length_weight(root: Path, tmp_path: Path) -> None:
    cells = str(root / "cells.parquet")
    jobs = [Job("nucleus", "n", cells, "w1 w2"), Job("cytoplasm", "c", cells, "w3 w4 w5")]
    (nucleus, cytoplasm), failures = compute(jobs, ExtractionSettings(sam_with_bert(root, 0.5), machine()))
    plain = recipe_for(root / "sam", family=Family.SEGMENTATION)
    (without,), _ = compute(jobs[:1], ExtractionSettings(plain, machine()))
    size = len(without.prototype)
    assert failures == ()
    for found in (nucleus, cytoplasm):
        for part in ("prototype", "half_a", "half_b", "within_std"):
            np.testing.assert_array_equal(getattr(found, part)[:size], getattr(without, part))
        assert np.linalg.norm(found.prototype[size:]) == pytest.approx(0.5, rel=1e-6)
        np.testing.assert_array_equal(found.within_std[size:], 0)
        assert found.standard_error == without.standard_error
    text = save_texts(tmp_path / "t.parquet", ["w1 w2", "w1 w2"])
    (words,), _ = compute([Job("a", "a", text)], ExtractionSettings(recipe_for(root / "bert"), machine()))
    expected = 0.5 * words.prototype / np.linalg.norm(words.prototype)
    np.testing.assert_allclose(nucleus.prototype[size:], expected, rtol=0, atol=1e-6)
    assert np.linalg.norm(nucleus.prototype - cytoplasm.prototype) > 0.01


def test_a_task_without_the_description_that_all_need_fails_alone(root: Path) -> None:
    cells = str(root / "cells.parquet")
    jobs = [Job("mute", "m", cells), Job("nucleus", "n", cells, "w1")]
    computed, (failure,) = compute(jobs, ExtractionSettings(sam_with_bert(root, 0.5), machine()))
    assert [one.name for one in computed] == ["nucleus"]
    assert failure.item == "mute"
    assert "it has no description" in failure.error


def test_a_language_model_reads_descriptions_itself(root: Path, tmp_path: Path) -> None:
    recipe = replace(recipe_for(root / "bert"), description=DescriptionPart(1.0, None))
    text = save_texts(tmp_path / "t.parquet", ["w1 w2", "w3"])
    (found,), failures = compute([Job("a", "a", text, "w7")], ExtractionSettings(recipe, machine()))
    assert failures == ()
    assert found.prototype.shape == (32,)


def test_the_digest_follows_the_description_only_where_it_counts(root: Path) -> None:
    plain, joined = recipe_for(root / "sam"), sam_with_bert(root, 0.5)
    assert prototype_digest("s", recipe=plain, description="x") == prototype_digest("s", recipe=plain, description="y")
    digests = {prototype_digest("s", recipe=joined, description=text) for text in ("x", "y", None)}
    digests.add(prototype_digest("s", recipe=sam_with_bert(root, 0.7), description="x"))
    assert len(digests) == 4
