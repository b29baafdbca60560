"""Prototypes made on a GPU are those made on the CPU, to the rounding of their type."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ViTConfig, ViTModel

from tasks.library.families import Family
from tasks.prototypes.compute import compute
from tasks.prototypes.extraction import Job
from tasks.prototypes.settings import ExtractionSettings
from tasks.prototypes.statistics import Prototype
from tests.prototypes.models import (
    MAKERS,
    TEXT_MODELS,
    random_pixels,
    random_texts,
    save_model,
    save_pixels,
    save_texts,
)
from tests.prototypes.recipes import machine, recipe_for

pytestmark = pytest.mark.gpu

FAMILY = {"llama": Family.CAUSAL_LM, "gpt2": Family.CAUSAL_LM, "sam": Family.SEGMENTATION}


def made_on(device: str, model: Path, name: str, samples: str, dtype: str = "float32") -> Prototype:
    recipe = replace(recipe_for(model, family=FAMILY.get(name, Family.ENCODER)), dtype=dtype)
    (found,), failures = compute(
        [Job("a", "d", samples)], ExtractionSettings(recipe, replace(machine(), device=device))
    )
    assert failures == ()
    return found


def samples_for(name: str, folder: Path) -> str:
    if name in TEXT_MODELS:
        return save_texts(folder / "samples.parquet", random_texts(23, 1))
    return save_pixels(folder / "samples.parquet", random_pixels(name, 23, 1))


@pytest.mark.parametrize("name", MAKERS)
def test_a_gpu_gives_the_prototype_of_the_cpu(tmp_path: Path, name: str) -> None:
    model, samples = save_model(name, tmp_path / "model"), samples_for(name, tmp_path)
    there, here = made_on("cuda", model, name, samples), made_on("cpu", model, name, samples)
    # States of size one in float32, summed in another order; with 10 bits of mantissa (TF32) it would be 5e-4.
    np.testing.assert_allclose(there.prototype, here.prototype, rtol=0, atol=5e-6)
    np.testing.assert_allclose(there.within_std, here.within_std, rtol=0, atol=5e-6)
    assert there.count == here.count


def test_float32_on_a_gpu_keeps_its_digits_in_a_patch_embedding_of_usual_size(tmp_path: Path) -> None:
    """Convolutions may be computed with ten bits (TF32) unless they are told not to; small ones never are."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 384, "num_hidden_layers": 1, "num_attention_heads": 6, "intermediate_size": 1536}
    ViTModel(ViTConfig(image_size=64, patch_size=16, **sizes), add_pooling_layer=False).save_pretrained(tmp_path / "m")
    pixels = torch.from_numpy(np.random.default_rng(0).normal(size=(32, 3, 64, 64)).astype(np.float32))
    samples = save_pixels(tmp_path / "samples.parquet", pixels)
    there, here = (made_on(device, tmp_path / "m", "vit", samples) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(there.prototype, here.prototype, rtol=0, atol=5e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_twice_on_a_gpu_is_the_same(tmp_path: Path, name: str) -> None:
    model, samples = save_model(name, tmp_path / "model"), samples_for(name, tmp_path)
    first, second = (made_on("cuda", model, name, samples) for _ in range(2))
    np.testing.assert_array_equal(first.prototype, second.prototype)


@pytest.mark.parametrize("name", ["llama", "sam"])
def test_half_precision_on_a_gpu_stays_near(tmp_path: Path, name: str) -> None:
    model, samples = save_model(name, tmp_path / "model"), samples_for(name, tmp_path)
    exact = made_on("cpu", model, name, samples).prototype
    coarse = made_on("cuda", model, name, samples, "bfloat16").prototype
    step = 2.0**-8  # relative rounding of bfloat16; some ten roundings on the way
    np.testing.assert_allclose(coarse, exact, rtol=0, atol=10 * step * np.abs(exact).max())
