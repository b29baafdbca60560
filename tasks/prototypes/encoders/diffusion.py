"""Family `diffusion`: CLIP encodings of images or texts, from a CLIP model or from a pipeline's own components.

A CLIP model puts both in one space, so an adapter without data can be described by its texts beside others that are
described by images (arXiv 2410.09908 encodes its Stable Diffusion library with CLIP). The two modalities still lie
apart in that space: describe a library in one of them where you can.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from tasks.prototypes.encoders.encoder import Encoder, Modality
from tasks.prototypes.encoders.parts import DTYPES, load_model, load_processor, load_tokenizer
from tasks.prototypes.encoders.text import TextEncoder
from tasks.prototypes.encoders.vision import VisionEncoder
from tasks.prototypes.settings import Pooling, Recipe


def build(recipe: Recipe, modality: Modality, device: str) -> Encoder:
    """CLIP's own pooled, projected embedding. Raises ValueError where a pipeline lacks the component."""
    if recipe.pooling is not Pooling.MEAN or recipe.layers != (-1,):
        raise ValueError("CLIP encodings have no tokens or layers to choose; use pooling `mean` and layers [-1]")
    path = recipe.encoder.path
    if (path / "model_index.json").is_file():
        return (
            _text_of_pipeline(path, recipe, device)
            if modality is Modality.TEXT
            else _image_of_pipeline(path, recipe, device)
        )
    model: Any = load_model(path, recipe).to(device)
    if modality is Modality.TEXT:
        return _text(path, recipe, lambda **inputs: model.get_text_features(**inputs).pooler_output)
    config = model.config.vision_config
    return _image(path, recipe, config, lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output)


def _text_of_pipeline(path: Path, recipe: Recipe, device: str) -> TextEncoder:
    config = AutoConfig.from_pretrained(path / "text_encoder")
    options: dict[str, Any] = {"dtype": DTYPES[recipe.dtype], "use_safetensors": True}
    if "CLIPTextModelWithProjection" in (config.architectures or []):
        projected = CLIPTextModelWithProjection.from_pretrained(path / "text_encoder", **options).eval().to(device)
        return _text(path / "tokenizer", recipe, lambda **inputs: projected(**inputs).text_embeds)
    plain = CLIPTextModel.from_pretrained(path / "text_encoder", **options).eval().to(device)
    return _text(path / "tokenizer", recipe, lambda **inputs: plain(**inputs).pooler_output)


def _image_of_pipeline(path: Path, recipe: Recipe, device: str) -> VisionEncoder:
    folder = path / "image_encoder"
    if not folder.is_dir():
        raise ValueError("the pipeline has no image encoder; give texts, or a CLIP model as `prototypes.encoder`")
    options: dict[str, Any] = {"dtype": DTYPES[recipe.dtype], "use_safetensors": True}
    model = CLIPVisionModelWithProjection.from_pretrained(folder, **options).eval().to(device)
    return _image(
        path / "feature_extractor", recipe, model.config, lambda pixels: model(pixel_values=pixels).image_embeds
    )


def _text(tokenizer: Path, recipe: Recipe, features: Callable[..., Tensor]) -> TextEncoder:
    def embed(ids: Tensor, mask: Tensor | None) -> Tensor:
        return features(input_ids=ids, attention_mask=mask).float()

    return TextEncoder(load_tokenizer(tokenizer, recipe), embed, max_tokens=recipe.max_tokens)


def _image(processor: Path, recipe: Recipe, config: Any, features: Callable[[Tensor], Tensor]) -> VisionEncoder:
    return VisionEncoder(
        lambda pixels: features(pixels).float(),
        config=config,
        processor=load_processor(processor),
        dtype=DTYPES[recipe.dtype],
    )
