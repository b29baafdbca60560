"""Family `causal-lm`: any language model of AutoModelForCausalLM, without its head and without a cache."""

from torch import nn

from tasks.prototypes.encoders.encoder import Modality
from tasks.prototypes.encoders.parts import load_model, text_encoder
from tasks.prototypes.encoders.text import TextEncoder
from tasks.prototypes.settings import Recipe


def build(recipe: Recipe, modality: Modality, device: str) -> TextEncoder:
    """Mean over the text's tokens of the chosen layers' hidden state. Raises ValueError for images."""
    if modality is not Modality.TEXT:
        raise ValueError("a causal language model encodes `text`, not images")
    model: nn.Module = load_model(recipe.encoder.path, recipe)
    encoder = text_encoder(model, model.config, recipe, causal=True)  # drops blocks before they go to the device
    model.to(device)
    return encoder
