"""A change of what the room puts out has to come with a new VERSION."""

from pathlib import Path

import numpy as np

from tasks.files import digest_bytes
from tasks.library.base_model import BaseModel
from tasks.library.families import Family
from tasks.prototypes import VERSION
from tasks.prototypes.compute import compute
from tasks.prototypes.extraction import Job, prototype_digest
from tasks.prototypes.settings import ExtractionSettings, Pooling, Recipe
from tests.prototypes.models import save_texts
from tests.prototypes.recipes import machine, recipe_for
from tests.prototypes.test_families import save_counting_model


def test_a_prototype_computed_by_hand_has_the_digest_of_this_version(tmp_path: Path) -> None:
    """Derivation: word i is embedded as i (1, 2, ..., 16); "w2 w4" and "w9" have means 3 and 9, together 6.

    The deviations are 3 and 3, so each coordinate j has variance 18 j^2; all of it is exact in float32 but the root.
    """
    save_counting_model(tmp_path / "model")
    recipe = recipe_for(tmp_path / "model", family=Family.CAUSAL_LM, layers=(0,))
    samples = save_texts(tmp_path / "s.parquet", ["w2 w4", "w9"])
    (found,), _ = compute([Job("a", "d", samples)], ExtractionSettings(recipe, machine()))
    row = np.arange(1, 17, dtype=np.float32)
    std = np.sqrt(18 * np.square(row.astype(np.float64))).astype(np.float32)
    outputs = [found.prototype, found.half_a, found.half_b, found.within_std]
    derived = digest_bytes(*(array.tobytes() for array in (6 * row, 3 * row, 9 * row, std)))
    assert (VERSION, digest_bytes(*(array.tobytes() for array in outputs))) == ("1", derived)
    assert derived == "5885eb2cf052631e2bd3b74c6bc4f10a"


def test_the_identity_of_a_fixed_recipe_is_that_of_this_version() -> None:
    base = BaseModel("base", None, Path("/anywhere"), "base-digest")
    recipe = Recipe(base, base, Family.ENCODER, Pooling.MAP, (-1,), 64, "float32", False)
    assert prototype_digest("samples-digest", recipe=recipe) == "029e9c0ba24143dfd2bc1d38983e9d82"
