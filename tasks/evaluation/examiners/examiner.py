"""What every family's examiner can do."""

from typing import Protocol

import torch

from tasks.evaluation.scores import Examination, Metric, Shape


class Examiner(Protocol):
    """An evaluation set ready for a base model that is resident in this process."""

    @property
    def base(self) -> torch.nn.Module:
        """The base model, in evaluation mode, on its device."""
        ...

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What it measures; the first decides promotion."""
        ...

    @property
    def shown(self) -> tuple[tuple[Shape, Shape], ...]:
        """(sample, truth) of the few samples that go into the picture."""
        ...

    def examine(self, model: torch.nn.Module) -> Examination:
        """Run `model`, the base or the base with an adapter on it, over the whole evaluation set."""
        ...
