"""From a recipe to an encoder resident in this process. Imports torch and transformers: workers only."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoImageProcessor, AutoModel

from tasks.prototypes.encoders.encoder import Encoder
from tasks.prototypes.encoders.vision import VisionEncoder, last_states, pixel_shape, token_count
from tasks.prototypes.pooling import mean_over_tokens, token_map
from tasks.prototypes.settings import Pooling, Recipe

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@cache
def resident_encoder(recipe: Recipe, device: str) -> Encoder:
    """The encoder of `recipe` on `device`, loaded once per process; the key holds the model's content digest."""
    path, dtype = recipe.encoder.path, _DTYPES[recipe.dtype]
    config = AutoConfig.from_pretrained(path, trust_remote_code=recipe.trust_remote_code)
    model = _model(recipe, config, dtype).to(device).eval()
    shape = pixel_shape(config)
    return VisionEncoder(
        last_states(model),
        token_map if recipe.pooling is Pooling.MAP else lambda hidden: mean_over_tokens(hidden, None),
        shape=shape,
        processor=_processor(path),
        tokens=token_count(config, shape),
        dtype=dtype,
    )


def _model(recipe: Recipe, config: Any, dtype: torch.dtype) -> nn.Module:
    options: dict[str, Any] = {"dtype": dtype, "trust_remote_code": recipe.trust_remote_code}
    if config.model_type == "vit":
        options["add_pooling_layer"] = False  # else a random pooler is made, reported as missing, and never used
    model: nn.Module = AutoModel.from_pretrained(recipe.encoder.path, use_safetensors=True, **options)
    return model


def _processor(path: Path) -> Any | None:
    if not (path / "preprocessor_config.json").is_file():
        return None
    return AutoImageProcessor.from_pretrained(path)
