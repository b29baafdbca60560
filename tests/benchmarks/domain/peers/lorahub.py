"""LoraHub (Huang et al., arXiv 2307.13269): gradient-free weights from five labelled examples of the target.

As in its code: factors are summed one by one, A = sum_i w_i A_i and B = sum_i w_i B_i, nevergrad's NGOpt looks for w
in [-1.5, 1.5] from zero with 40 looks at the loss, and the loss has .05 of the mean |w| added to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file

from tasks.training.learners.learner import Learner

EXAMPLES, LOOKS = 5, 40
_BOUND, _SPARSITY = 1.5, 0.05


@dataclass(frozen=True)
class Hub:
    """One LoRA on the base whose factors are set from weights on the library's."""

    model: PeftModel
    tensors: dict[str, torch.Tensor]  # of all adapters, stacked: (references, ...)

    def set(self, weights: np.ndarray) -> PeftModel:
        """The model with these weights (references,)."""
        shares = torch.from_numpy(np.asarray(weights, dtype=np.float32))
        summed = {key: torch.tensordot(shares, stacked, dims=1) for key, stacked in self.tensors.items()}
        set_peft_model_state_dict(self.model, summed)
        return self.model


def open_hub(base: torch.nn.Module, adapters: Sequence[Path]) -> Hub:
    """Put the first adapter on the base; the caller takes it off again (`kept`). All must have one shape and scale."""
    files = [load_file(directory / "adapter_model.safetensors") for directory in adapters]
    model = PeftModel.from_pretrained(base, adapters[0]).eval()
    return Hub(model, {key: torch.stack([tensors[key] for tensors in files]) for key in files[0]})


def few_shot_loss(hub: Hub, learner: Learner, *, draws: int, seed: int):
    """The loss of weights on five examples as a function of the weights; the same noise at every look.

    `draws` is how often each example is measured: noise prediction needs several levels to say anything.
    """
    order = torch.randperm(learner.count, generator=torch.Generator().manual_seed(seed))
    rows = order[:EXAMPLES].repeat(draws)

    def loss(weights: np.ndarray) -> float:
        with torch.inference_mode():
            losses = learner.losses(hub.set(weights), rows, torch.Generator().manual_seed(seed))
        return float(losses.mean()) + _SPARSITY * float(np.abs(weights).mean())

    return loss


def learn_weights(loss, count: int, *, seed: int) -> np.ndarray:
    """The weights (count,) that NGOpt recommends."""
    # Bounds given here, as LoraHub does, and not by `set_bounds`: only so does the first step follow from them.
    import nevergrad  # of the extra `bench`: the other peers and the tests of this file's factors need none of it

    where = nevergrad.p.Array(init=[0.0] * count, lower=[-_BOUND] * count, upper=[_BOUND] * count)
    where.random_state = np.random.RandomState(seed)
    return np.asarray(nevergrad.optimizers.NGOpt(where, budget=LOOKS).minimize(loss).value)
