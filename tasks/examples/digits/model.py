"""The example's base model and its adapters: a ViT of about 40,000 parameters, and LoRA on its linear layers."""

from collections.abc import Callable

import torch
from peft import LoraConfig
from torch.nn import functional
from transformers import ViTConfig, ViTForImageClassification

from tasks.examples.digits.conditions import SIDE
from tasks.examples.digits.data import Digits

CLASSES = 10
RANK = 4


def untrained_base() -> ViTForImageClassification:
    """A fresh model; its weights come from torch's global random state, which the caller has seeded."""
    settings = ViTConfig(
        image_size=SIDE,
        patch_size=4,
        num_channels=1,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    settings.num_labels = CLASSES
    return ViTForImageClassification(settings)


def adapter_settings() -> LoraConfig:
    """LoRA on every linear layer, the classifier among them; nothing else is trained, so that blending is exact."""
    return LoraConfig(
        r=RANK,
        lora_alpha=RANK,
        lora_dropout=0.0,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2", "classifier"],
    )


def batch_loss(
    model: torch.nn.Module,
    digits: Digits,
    *,
    view: Callable[[torch.Tensor], torch.Tensor],
    batch: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """Cross-entropy of a random batch; `view` makes model input of its images, anew each time."""
    rows = torch.randint(len(digits.labels), (batch,), generator=generator)
    logits = model(pixel_values=view(digits.images[rows])).logits
    return functional.cross_entropy(logits, digits.labels[rows])
