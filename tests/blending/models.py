"""Small real models with every layer that PEFT adapts, and adapters on them with random, non-trivial factors."""

import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn


class Everything(nn.Module):
    """Linear, embedding and convolutions of one, two and three dimensions under telling names."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.conv1 = nn.Conv1d(6, 5, kernel_size=3)
        self.conv2 = nn.Conv2d(3, 4, kernel_size=(3, 2))
        self.conv2_unit = nn.Conv2d(4, 4, kernel_size=1)
        self.conv3 = nn.Conv3d(2, 3, kernel_size=(2, 3, 1))
        self.layers = nn.ModuleList([Block(), Block(), Block()])
        self.head = nn.Linear(6, 3)


class Block(nn.Module):
    """The linear layers of a transformer block, with grouped key and value."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(8, 8)
        self.k_proj = nn.Linear(8, 4)
        self.v_proj = nn.Linear(8, 4)
        self.gate_proj = nn.Linear(8, 12)
        self.up_proj = nn.Linear(8, 12)
        self.down_proj = nn.Linear(12, 8)


def fresh_model() -> Everything:
    """The same weights every time."""
    torch.manual_seed(0)
    return Everything()


def randomise(model: nn.Module, seed: int) -> None:
    """Give every LoRA parameter Gaussian entries: at its initial value B is zero and proves nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)


def save_random_adapter(directory: Path, config: LoraConfig, *, seed: int, dtype: torch.dtype = torch.float32) -> Path:
    """An adapter that PEFT itself made and saved."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(fresh_model(), config)
        randomise(model, seed)
        model.to(dtype).save_pretrained(str(directory), save_embedding_layers=False)
    return directory


def peft_deltas(directory: Path) -> dict[str, torch.Tensor]:
    """Each module's delta as PEFT computes it after loading the directory, float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PeftModel.from_pretrained(fresh_model(), str(directory))
    return {
        name.removeprefix("base_model.model."): layer.get_delta_weight("default").detach().double()
        for name, layer in model.named_modules()
        if hasattr(layer, "get_delta_weight") and "default" in (*layer.lora_A, *layer.lora_embedding_A)
    }


def weighted_sum(directories: list[Path], weights: list[float]) -> dict[str, torch.Tensor]:
    """What a blend has to equal: the weighted sum of PEFT's own deltas."""
    total: dict[str, torch.Tensor] = {}
    for directory, weight in zip(directories, weights, strict=True):
        for module, delta in peft_deltas(directory).items():
            total[module] = total.get(module, torch.zeros_like(delta)) + weight * delta
    return total


def relative_error(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> float:
    """Largest error of a module relative to the largest norm of the wanted deltas; modules that lack count as zero."""
    scale = max(float(delta.norm()) for delta in wanted.values())
    errors = [float((found.get(name, torch.zeros(())) - delta).norm()) for name, delta in wanted.items()]
    extra = [float(delta.norm()) for name, delta in found.items() if name not in wanted]
    return max(errors + extra) / scale
