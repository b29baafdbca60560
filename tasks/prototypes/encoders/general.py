"""Family `encoder`: BERT and its like, CLIP's two towers, ViT and its like."""

from typing import Any

from torch import nn
from transformers import AutoConfig

from tasks.prototypes.encoders.encoder import Encoder, Modality
from tasks.prototypes.encoders.parts import load_model, text_encoder, vision_encoder
from tasks.prototypes.settings import Recipe


def build(recipe: Recipe, modality: Modality, device: str) -> Encoder:
    """Token states of the model, or of that tower of it which takes the modality."""
    model, config = load_tower(recipe, modality)
    encoder: Encoder
    if modality is Modality.VISION:
        encoder = vision_encoder(model, config, recipe)
    else:
        encoder = text_encoder(model, config, recipe, causal=False)
    model.to(device)
    return encoder


def load_tower(recipe: Recipe, modality: Modality) -> tuple[nn.Module, Any]:
    """The model for this modality with the configuration of exactly that part."""
    config = AutoConfig.from_pretrained(recipe.encoder.path, trust_remote_code=recipe.trust_remote_code)
    name = f"{modality.value}_config"
    if hasattr(config, name):
        whole = load_model(recipe.encoder.path, recipe)
        return getattr(whole, f"{modality.value}_model"), getattr(config, name)
    # Else a random pooler would be made, reported as missing, and never used.
    options: dict[str, Any] = {"add_pooling_layer": False} if config.model_type in _WITH_POOLER else {}
    return load_model(recipe.encoder.path, recipe, **options), config


_WITH_POOLER = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "vit", "deit", "beit", "data2vec-vision"})
