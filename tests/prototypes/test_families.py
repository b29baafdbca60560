"""Every family on a tiny real model: pooling by hand, padding and batch size change nothing, twice is the same."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from tasks.library.families import Family
from tasks.prototypes.compute import compute
from tasks.prototypes.encoders import general
from tasks.prototypes.encoders.encoder import Modality
from tasks.prototypes.encoders.general import load_tower
from tasks.prototypes.encoders.layers import states_of
from tasks.prototypes.encoders.loading import EncoderUnavailable, resident_encoder
from tasks.prototypes.extraction import Job
from tasks.prototypes.settings import ExtractionSettings, Pooling
from tasks.prototypes.statistics import Prototype
from tests.prototypes.models import (
    DEPTH,
    MAKERS,
    TEXT_MODELS,
    VISION_MODELS,
    model_named,
    random_pixels,
    random_texts,
    save_model,
    save_pixels,
    save_texts,
    save_tokenizer,
)
from tests.prototypes.recipes import machine, recipe_for

FAMILY = {"llama": Family.CAUSAL_LM, "gpt2": Family.CAUSAL_LM, "sam": Family.SEGMENTATION}
FAMILY |= {"segformer": Family.SEGMENTATION}
CLOSE = {"rtol": 0, "atol": 3e-6}  # float32 states of size one, summed in another order


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: save_model(name, root / name) for name in MAKERS}


def extract(model: Path, samples: str, *, budget: int = 64, window: int = 8, **options: object) -> Prototype:
    settings = ExtractionSettings(
        recipe_for(model, **options),  # type: ignore[arg-type]
        machine(token_budget=budget, window_rows=window),
    )
    (found,), failures = compute([Job("a", "d", samples)], settings)
    assert failures == ()
    return found


def ids_of(text: str) -> torch.Tensor:
    return torch.tensor([[int(word[1:]) for word in text.split()]])


def text_states(name: str, text: str, layers: tuple[int, ...]) -> NDArray[np.float64]:
    """Mean over layers of one unpadded text's hidden states (t, d), by transformers' own full forward pass."""
    model = model_named(name)
    tower = model.text_model if name == "clip" else model
    with torch.inference_mode():
        out = tower(input_ids=ids_of(text), output_hidden_states=True)
    last = getattr(out, "last_hidden_state", out.hidden_states[-1])
    hidden = (*out.hidden_states[:-1], last)
    return np.mean([hidden[layer][0].double().numpy() for layer in layers], axis=0)


@pytest.mark.parametrize("layers", [(-1,), (1,), (0,), (-2, 1), (-1, 2)])
@pytest.mark.parametrize("name", TEXT_MODELS)
def test_a_text_prototype_is_the_mean_over_texts_of_the_mean_over_their_tokens(
    saved: dict[str, Path], tmp_path: Path, name: str, layers: tuple[int, ...]
) -> None:
    texts = random_texts(9, 1)
    expected = np.mean([text_states(name, text, layers).mean(axis=0) for text in texts], axis=0)
    family = FAMILY.get(name, Family.ENCODER)
    found = extract(saved[name], save_texts(tmp_path / "s.parquet", texts), family=family, layers=layers)
    np.testing.assert_allclose(found.prototype, expected, **CLOSE)


def save_counting_model(path: Path) -> int:
    """A Llama whose word i is embedded as i (1, 2, ..., d); returns d."""
    model = model_named("llama")
    size = int(model.config.hidden_size)
    with torch.no_grad():
        column = torch.arange(model.config.vocab_size).float()[:, None]
        model.get_input_embeddings().weight.copy_(column * torch.arange(1, size + 1))
    model.save_pretrained(path)
    save_tokenizer(path)
    return size


def test_the_mean_over_tokens_by_hand(tmp_path: Path) -> None:
    """The texts "w2 w4" and "w9" have means 3 and 9 of the words' numbers: the prototype is 6."""
    size = save_counting_model(tmp_path / "model")
    samples = save_texts(tmp_path / "s.parquet", ["w2 w4", "w9"])
    found = extract(tmp_path / "model", samples, family=Family.CAUSAL_LM, layers=(0,))
    np.testing.assert_array_equal(found.prototype, 6.0 * np.arange(1, size + 1))
    np.testing.assert_array_equal(found.half_a, 3.0 * np.arange(1, size + 1))
    np.testing.assert_array_equal(found.half_b, 9.0 * np.arange(1, size + 1))
    np.testing.assert_allclose(found.within_std, np.sqrt(18.0) * np.arange(1, size + 1), rtol=1e-6)


def vision_states(name: str, pixels: torch.Tensor, layer: int) -> NDArray[np.float64]:
    """Token states (n, t, d), by transformers' own full forward pass."""
    model = model_named(name)
    tower = {"vit": "vit", "clip": "vision_model", "sam": "vision_encoder", "segformer": "segformer"}[name]
    with torch.inference_mode():
        out = getattr(model, tower)(pixel_values=pixels, output_hidden_states=True)
    if layer == -1:
        hidden = out.last_hidden_state
        hidden = hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden
    else:
        hidden = out.hidden_states[layer]
        hidden = hidden.flatten(1, 2) if hidden.ndim == 4 else hidden
    return hidden.double().numpy()


@pytest.mark.parametrize("pooling", Pooling)
@pytest.mark.parametrize(
    ("name", "layer"), [*((name, -1) for name in VISION_MODELS), ("vit", 1), ("clip", 2), ("sam", 1)]
)
def test_a_vision_prototype_is_the_mean_over_images_of_pooled_token_states(
    saved: dict[str, Path], tmp_path: Path, name: str, layer: int, pooling: Pooling
) -> None:
    pixels = random_pixels(name, 5, 2)
    states = vision_states(name, pixels, layer).mean(axis=0)
    expected = states.mean(axis=0) if pooling is Pooling.MEAN else states.flatten()
    samples = save_pixels(tmp_path / "s.parquet", pixels)
    family = FAMILY.get(name, Family.ENCODER)
    found = extract(saved[name], samples, family=family, layers=(layer,), pooling=pooling)
    np.testing.assert_allclose(found.prototype, expected, **CLOSE)


def test_segmentation_also_takes_a_generic_vision_encoder(saved: dict[str, Path], tmp_path: Path) -> None:
    samples = save_pixels(tmp_path / "s.parquet", random_pixels("vit", 5, 2))
    first = extract(saved["vit"], samples, family=Family.SEGMENTATION)
    np.testing.assert_array_equal(first.prototype, extract(saved["vit"], samples).prototype)


def test_diffusion_takes_the_projected_encodings_of_clip(saved: dict[str, Path], tmp_path: Path) -> None:
    texts, pixels = random_texts(6, 3), random_pixels("clip", 5, 3)
    model = model_named("clip")
    with torch.inference_mode():
        of_texts = torch.cat([model.get_text_features(input_ids=ids_of(text)).pooler_output for text in texts])
        of_images = model.get_image_features(pixel_values=pixels).pooler_output
    by_text = extract(saved["clip"], save_texts(tmp_path / "t.parquet", texts), family=Family.DIFFUSION)
    by_image = extract(saved["clip"], save_pixels(tmp_path / "i.parquet", pixels), family=Family.DIFFUSION)
    np.testing.assert_allclose(by_text.prototype, of_texts.double().mean(0), **CLOSE)
    np.testing.assert_allclose(by_image.prototype, of_images.double().mean(0), **CLOSE)


def test_an_adapter_without_data_is_described_by_its_texts(saved: dict[str, Path], tmp_path: Path) -> None:
    texts = random_texts(4, 5)
    recipe = recipe_for(saved["clip"], family=Family.DIFFUSION)
    job = Job("a", "d", "", description="\n".join(["", *texts, " "]))
    (found,), _ = compute([job], ExtractionSettings(recipe, machine()))
    by_file = extract(saved["clip"], save_texts(tmp_path / "t.parquet", texts), family=Family.DIFFUSION)
    np.testing.assert_array_equal(found.prototype, by_file.prototype)


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_padding_batch_size_and_window_change_nothing(saved: dict[str, Path], tmp_path: Path, name: str) -> None:
    samples = save_texts(tmp_path / "s.parquet", random_texts(23, 4))
    family = FAMILY.get(name, Family.ENCODER)
    alone = extract(saved[name], samples, family=family, budget=1)  # one text a batch: nothing is padded
    for budget, window in ((50, 4), (10_000, 7), (10_000, 1000)):
        together = extract(saved[name], samples, family=family, budget=budget, window=window)
        for part in ("prototype", "half_a", "half_b", "within_std"):
            np.testing.assert_allclose(getattr(together, part), getattr(alone, part), **CLOSE)


@pytest.mark.parametrize("name", VISION_MODELS)
def test_batch_size_changes_nothing_for_images(saved: dict[str, Path], tmp_path: Path, name: str) -> None:
    samples = save_pixels(tmp_path / "s.parquet", random_pixels(name, 7, 4))
    family = FAMILY.get(name, Family.ENCODER)
    alone = extract(saved[name], samples, family=family, budget=1)
    together = extract(saved[name], samples, family=family, budget=10_000)
    np.testing.assert_allclose(together.prototype, alone.prototype, **CLOSE)


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_samples_give_the_same_bits(saved: dict[str, Path], tmp_path: Path, name: str) -> None:
    if name in TEXT_MODELS:
        samples = save_texts(tmp_path / "s.parquet", random_texts(9, 6))
    else:
        samples = save_pixels(tmp_path / "s.parquet", random_pixels(name, 5, 6))
    family = FAMILY.get(name, Family.ENCODER)
    first, second = (extract(saved[name], samples, family=family) for _ in range(2))
    for part in ("prototype", "half_a", "half_b", "within_std", "standard_error"):
        np.testing.assert_array_equal(getattr(first, part), getattr(second, part))


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "vit"])
def test_the_pass_stops_at_the_deepest_layer_and_keeps_no_block_beyond(saved: dict[str, Path], name: str) -> None:
    family = FAMILY.get(name, Family.ENCODER)
    recipe = recipe_for(saved[name], family=family, layers=(1,))
    modality = Modality.VISION if name == "vit" else Modality.TEXT
    tower, _ = load_tower(recipe, modality)
    states = states_of(tower, recipe.layers, depth=DEPTH)
    blocks = [module for module in tower.modules() if isinstance(module, torch.nn.ModuleList)]
    assert [len(block) for block in blocks] == [2]  # the one that runs, and the one whose input is caught
    ran: list[int] = []
    for position, block in enumerate(blocks[0]):
        block.register_forward_hook(lambda *_, position=position: ran.append(position))
    inputs = {"pixel_values": random_pixels("vit", 2, 0)} if name == "vit" else {"input_ids": ids_of("w1 w2")}
    assert states(**inputs).shape[2] == 16
    assert ran == [0]
    assert not hasattr(tower, "lm_head")


def test_a_model_is_loaded_once_for_all_tasks(saved: dict[str, Path]) -> None:
    recipe = recipe_for(saved["bert"])
    first = resident_encoder(recipe, Modality.TEXT, "cpu")
    assert resident_encoder(replace(recipe), Modality.TEXT, "cpu") is first


def test_a_model_that_cannot_be_loaded_is_nobodys_fault_among_the_references(
    saved: dict[str, Path], tmp_path: Path
) -> None:
    recipe = recipe_for(saved["bert"])
    gone = replace(recipe, encoder=replace(recipe.encoder, path=tmp_path / "gone", digest="gone"))
    job = Job("a", "d", save_texts(tmp_path / "t.parquet", random_texts(3, 0)))
    with pytest.raises(EncoderUnavailable, match="cannot be loaded"):
        compute([job], ExtractionSettings(gone, machine()))


def test_a_recipe_that_does_not_fit_loads_the_model_once_and_not_once_a_reference(
    saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Path] = []
    load = general.load_model
    monkeypatch.setattr(
        general, "load_model", lambda path, *rest, **more: loads.append(path) or load(path, *rest, **more)
    )
    samples = save_texts(tmp_path / "t.parquet", random_texts(3, 0))
    recipe = replace(recipe_for(saved["bert"], pooling=Pooling.MAP), max_tokens=63)
    jobs = [Job(name, name, samples) for name in "abc"]
    _, failures = compute(jobs, ExtractionSettings(recipe, machine()))
    assert ["pooling `map` needs inputs of one size" in failure.error for failure in failures] == [True] * 3
    assert len(loads) == 1


def test_a_model_with_a_hole_is_refused_instead_of_filled_with_random_numbers(
    saved: dict[str, Path], tmp_path: Path
) -> None:
    model = tmp_path / "bert"
    shutil.copytree(saved["bert"], model)
    weights = load_file(model / "model.safetensors")
    weights.pop("encoder.layer.1.output.dense.weight")
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    job = Job("a", "d", save_texts(tmp_path / "t.parquet", random_texts(3, 0)))
    _, (failure,) = compute([job], ExtractionSettings(recipe_for(model), machine()))
    assert "lacks 1 weights, such as encoder.layer.1.output.dense.weight; save it whole" in failure.error


def test_reduced_precision_stays_near(saved: dict[str, Path], tmp_path: Path) -> None:
    samples = save_texts(tmp_path / "s.parquet", random_texts(9, 6))
    exact = extract(saved["llama"], samples, family=Family.CAUSAL_LM)
    recipe = replace(recipe_for(saved["llama"], family=Family.CAUSAL_LM), dtype="bfloat16")
    (coarse,), _ = compute([Job("a", "d", samples)], ExtractionSettings(recipe, machine()))
    step = 2.0**-8  # relative rounding of bfloat16; some ten roundings on the way
    np.testing.assert_allclose(
        coarse.prototype, exact.prototype, rtol=0, atol=10 * step * np.abs(exact.prototype).max()
    )


def test_what_a_family_cannot_encode_is_said(saved: dict[str, Path], tmp_path: Path) -> None:
    texts = save_texts(tmp_path / "t.parquet", random_texts(3, 0))
    pixels = save_pixels(tmp_path / "p.parquet", random_pixels("vit", 3, 0))
    cases = {
        "a causal language model encodes `text`": (saved["llama"], pixels, {"family": Family.CAUSAL_LM}),
        "a segmentation model encodes `pixel_values`": (saved["sam"], texts, {"family": Family.SEGMENTATION}),
        "pooling `map` needs inputs of one size": (saved["bert"], texts, {"pooling": Pooling.MAP}),
        f"the model has no layer {DEPTH + 1}; its hidden states are 0 to {DEPTH}": (
            saved["bert"],
            texts,
            {"layers": (DEPTH + 1,)},
        ),
        "use pooling `mean` and layers": (saved["clip"], texts, {"family": Family.DIFFUSION, "layers": (1,)}),
    }
    for message, (model, samples, options) in cases.items():
        settings = ExtractionSettings(recipe_for(model, **options), machine())  # type: ignore[arg-type]
        _, (failure,) = compute([Job("a", "d", samples)], settings)
        assert message in failure.error


def save_pipeline(path: Path) -> Path:
    """A pipeline's folder as diffusers saves it, with the components that matter here."""
    torch.manual_seed(0)
    whole = model_named("clip")
    CLIPTextModel(whole.config.text_config).eval().save_pretrained(path / "text_encoder")
    vision = CLIPVisionConfig(**whole.config.vision_config.to_dict())
    CLIPVisionModelWithProjection(vision).eval().save_pretrained(path / "image_encoder")
    save_tokenizer(path / "tokenizer")
    (path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    return path


def test_a_diffusion_pipeline_encodes_with_its_own_components(tmp_path: Path) -> None:
    pipeline = save_pipeline(tmp_path / "pipeline")
    texts, pixels = random_texts(6, 3), random_pixels("clip", 5, 3)
    text_model = CLIPTextModel.from_pretrained(pipeline / "text_encoder")
    image_model = CLIPVisionModelWithProjection.from_pretrained(pipeline / "image_encoder")
    with torch.inference_mode():
        of_texts = torch.cat([text_model(input_ids=ids_of(text)).pooler_output for text in texts])
        of_images = image_model(pixel_values=pixels).image_embeds
    by_text = extract(pipeline, save_texts(tmp_path / "t.parquet", texts), family=Family.DIFFUSION)
    by_image = extract(pipeline, save_pixels(tmp_path / "i.parquet", pixels), family=Family.DIFFUSION)
    np.testing.assert_allclose(by_text.prototype, of_texts.double().mean(0), **CLOSE)
    np.testing.assert_allclose(by_image.prototype, of_images.double().mean(0), **CLOSE)


def test_a_pipeline_without_an_image_encoder_says_what_to_give(tmp_path: Path) -> None:
    pipeline = save_pipeline(tmp_path / "pipeline")
    shutil.rmtree(pipeline / "image_encoder")
    samples = save_pixels(tmp_path / "i.parquet", random_pixels("clip", 5, 3))
    settings = ExtractionSettings(recipe_for(pipeline, family=Family.DIFFUSION), machine())
    _, (failure,) = compute([Job("a", "d", samples)], settings)
    assert "the pipeline has no image encoder; give texts, or a CLIP model as `prototypes.encoder`" in failure.error
