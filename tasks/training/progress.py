"""A training that can be interrupted: its state as tensors, in one safetensors file that is replaced atomically."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tasks.files import atomic_file

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Progress:
    """`step` steps are done; the best held-out loss so far was `best_loss` at `best_step`, whose factors are `best`.

    `identity` says which job it belongs to: progress of another job is no progress.
    """

    identity: str
    step: int
    best_step: int
    best_loss: float
    stale: int
    best: Tensors
    current: Tensors
    moments: Tensors

    def judged(self, step: int, loss: float, factors: Tensors) -> "Progress":
        """The progress after a look at the held-out rows."""
        if loss < self.best_loss:
            return replace(self, best_loss=loss, best_step=step, best=factors, stale=0)
        return replace(self, stale=self.stale + 1)


def save_progress(progress: Progress, path: Path) -> None:
    """Write it; a kill leaves the old state or the new one."""
    numbers = {name: getattr(progress, name) for name in ("identity", "step", "best_step", "best_loss", "stale")}
    tensors = {
        f"{group}.{name}": tensor.detach().cpu().contiguous()
        for group in ("best", "current", "moments")
        for name, tensor in getattr(progress, group).items()
    }
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, metadata={"progress": json.dumps(numbers)})


def read_progress(path: Path, identity: str) -> Progress | None:
    """The saved progress of the job `identity`, or None."""
    if not path.is_file():
        return None
    groups: dict[str, Tensors] = {"best": {}, "current": {}, "moments": {}}
    with safe_open(path, framework="pt") as file:
        numbers: dict[str, Any] = json.loads(file.metadata()["progress"])
        for key in file.keys():  # noqa: SIM118  (no mapping: iterating the file itself is not supported)
            group, name = key.split(".", 1)
            groups[group][name] = file.get_tensor(key)
    return Progress(**{**numbers, **groups}) if numbers["identity"] == identity else None


def moments_of(optimiser: torch.optim.AdamW, parameters: dict[str, torch.nn.Parameter]) -> Tensors:
    """AdamW's two moments and step count of each parameter, flat."""
    states = {name: optimiser.state[parameter] for name, parameter in parameters.items()}
    return {f"{key}:{name}": torch.as_tensor(value) for name, state in states.items() for key, value in state.items()}


def restore_moments(optimiser: torch.optim.AdamW, parameters: dict[str, torch.nn.Parameter], moments: Tensors) -> None:
    """Give an optimiser the moments back."""
    for flat, value in moments.items():
        key, name = flat.split(":", 1)
        state: dict[str, Any] = optimiser.state[parameters[name]]
        state[key] = value if key == "step" else value.to(parameters[name].device)
