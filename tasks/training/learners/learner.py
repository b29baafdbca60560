"""What every family's learner can do."""

from typing import Protocol

import torch


class Learner(Protocol):
    """A base model resident in this process, and labelled rows ready for it."""

    @property
    def base(self) -> torch.nn.Module:
        """The model that gets the adapter."""
        ...

    @property
    def targets(self) -> list[str] | str:
        """The modules that LoRA usually goes into."""
        ...

    @property
    def count(self) -> int:
        """Number of labelled rows."""
        ...

    def losses(self, model: torch.nn.Module, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Loss of each of the rows (n,), with a gradient; whatever is random comes from the generator."""
        ...
