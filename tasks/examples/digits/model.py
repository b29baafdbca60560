"""The example's base model and its adapters: a ViT of about 40,000 parameters, and LoRA on its linear layers."""

from collections.abc import Callable

import torch
from peft import LoraConfig
from torch.nn import functional
from transformers import ViTConfig, ViTForImageClassification

from tasks.examples.digits.conditions import SIDE

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


def fit(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    view: Callable[[torch.Tensor], torch.Tensor],
    steps: int,
    batch: int,
    learning_rate: float,
    generator: torch.Generator,
) -> None:
    """Train every parameter that asks for a gradient with cross-entropy; AdamW under a one-cycle rate.

    images (n, 1, side, side) in 0..1; `view` makes model input of a batch of them, anew at each step.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=learning_rate, total_steps=steps)
    model.train()
    for _ in range(steps):
        rows = torch.randint(len(images), (batch,), generator=generator)
        logits = model(pixel_values=view(images[rows])).logits
        optimiser.zero_grad()
        functional.cross_entropy(logits, labels[rows]).backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimiser.step()
        schedule.step()
    model.eval()
