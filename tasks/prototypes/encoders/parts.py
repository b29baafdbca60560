"""What the families share: loading a model's parts, and pooling as the recipe says."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer
from transformers.utils import logging

from tasks.prototypes.encoders.layers import states_of
from tasks.prototypes.encoders.text import TextEncoder
from tasks.prototypes.encoders.vision import VisionEncoder
from tasks.prototypes.pooling import mean_over_tokens, token_map
from tasks.prototypes.settings import Pooling, Recipe

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_model(path: Path, recipe: Recipe, **options: Any) -> nn.Module:
    """The model at `path` without its head, from safetensors only. Raises ValueError when weights of it are missing."""
    with _quiet_loading():
        model, info = AutoModel.from_pretrained(
            path,
            dtype=DTYPES[recipe.dtype],
            use_safetensors=True,
            trust_remote_code=recipe.trust_remote_code,
            output_loading_info=True,
            **options,
        )
    # A pooler comes after the token states; everything else that is missing would be random numbers.
    missing = sorted(key for key in info["missing_keys"] if "pooler" not in key)
    if missing:
        raise ValueError(f"{recipe.encoder.name} lacks {len(missing)} weights, such as {missing[0]}; save it whole")
    encoder: nn.Module = model.eval()
    return encoder


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """No progress bar and no report of the head's weights, which are left out on purpose."""
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def load_tokenizer(path: Path, recipe: Recipe) -> Any:
    """The tokenizer saved at `path`."""
    return AutoTokenizer.from_pretrained(path, trust_remote_code=recipe.trust_remote_code)


def load_processor(path: Path) -> Any | None:
    """The image processor saved at `path`, if there is one."""
    return AutoImageProcessor.from_pretrained(path) if (path / "preprocessor_config.json").is_file() else None


def vision_encoder(model: nn.Module, config: Any, recipe: Recipe) -> VisionEncoder:
    """Encoder over the token states of a vision model whose configuration is `config`."""
    states = states_of(model, recipe.layers, depth=depth_of(config))
    pool: Callable[[Tensor], Tensor] = token_map
    if recipe.pooling is Pooling.MEAN:

        def pool(hidden: Tensor) -> Tensor:
            return mean_over_tokens(hidden, None)

    processor = load_processor(recipe.encoder.path)
    dtype = DTYPES[recipe.dtype]
    return VisionEncoder(
        lambda pixels: pool(states(pixel_values=pixels)), config=config, processor=processor, dtype=dtype
    )


def text_encoder(model: nn.Module, config: Any, recipe: Recipe, *, causal: bool) -> TextEncoder:
    """Encoder over the token states of a text model whose configuration is `config`.

    A causal model needs no attention mask for padding on the right: no token looks to its right, so the states of the
    real tokens do not depend on it, and attention may take its fast causal path.
    """
    if recipe.pooling is Pooling.MAP:
        raise ValueError("pooling `map` needs inputs of one size; texts take `mean`")
    states = states_of(model, recipe.layers, depth=depth_of(config))
    fixed: dict[str, Any] = {"use_cache": False} if causal else {}

    def embed(ids: Tensor, mask: Tensor | None) -> Tensor:
        seen = {} if causal or mask is None else {"attention_mask": mask}
        return mean_over_tokens(states(input_ids=ids, **seen, **fixed), mask)

    return TextEncoder(load_tokenizer(recipe.encoder.path, recipe), embed, max_tokens=recipe.max_tokens)


def depth_of(config: Any) -> int:
    """Number of blocks; for a hierarchy of stages, which has no single list of blocks, the number of stages."""
    depth = getattr(config, "num_hidden_layers", None)
    return len(config.depths) if depth is None else int(depth)
