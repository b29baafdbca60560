"""Family `segmentation`: SAM's image encoder, or any vision encoder with token states (SegFormer, ViT)."""

from typing import Any

from transformers import AutoConfig

from tasks.prototypes.encoders import general
from tasks.prototypes.encoders.encoder import Encoder, Modality
from tasks.prototypes.encoders.parts import load_model, vision_encoder
from tasks.prototypes.encoders.sam_attention import without_bias_matrices
from tasks.prototypes.settings import Recipe


def build(recipe: Recipe, modality: Modality, device: str) -> Encoder:
    """SAM's prompt encoder and mask decoder are left behind. Raises ValueError for text."""
    if modality is not Modality.VISION:
        raise ValueError("a segmentation model encodes `pixel_values` or `image`, not text")
    config = AutoConfig.from_pretrained(recipe.encoder.path, trust_remote_code=recipe.trust_remote_code)
    if not hasattr(config, "mask_decoder_config"):
        return general.build(recipe, modality, device)
    whole: Any = load_model(recipe.encoder.path, recipe)
    tower = whole.vision_encoder
    without_bias_matrices(tower)
    encoder = vision_encoder(tower, config.vision_config, recipe)
    tower.to(device)
    return encoder
