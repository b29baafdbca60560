"""Training the examples' base models on the spot."""

from collections.abc import Callable

import torch


def fit(model: torch.nn.Module, loss: Callable[[], torch.Tensor], *, steps: int, learning_rate: float) -> None:
    """Lower `loss`, which draws its own batch, over every parameter that asks for a gradient; AdamW, one-cycle rate."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=learning_rate, total_steps=steps)
    model.train()
    for _ in range(steps):
        value = loss()
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimiser.step()
        schedule.step()
    model.eval()
