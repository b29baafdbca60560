"""What one adapter's training depends on, and what it tells."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.evaluation.limits import USUAL, Limits
from tasks.library.base_model import BaseModel
from tasks.library.families import Family

Report = Callable[[int, Mapping[str, float]], None]  # step, and metrics by name


@dataclass(frozen=True, slots=True)
class LoraShape:
    """LoRA's own settings (Hu et al., arXiv 2106.09685); `targets` None means the family's usual modules.

    `targets` is a tuple of module names' ends, or one regular expression for whole names.
    """

    rank: int
    alpha: float
    dropout: float
    targets: tuple[str, ...] | str | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps of AdamW under a linear warm-up and a cosine decay, and when to look and when to stop.

    `warmup` and `validation` are shares of the steps and of the rows. Every `validate_every` steps the held-out loss is
    measured; after `patience` such looks without a better one training stops, and the best adapter is kept. Progress is
    saved every `checkpoint_every` steps.
    """

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    clip: float
    warmup: float
    validation: float
    validate_every: int
    patience: int
    checkpoint_every: int


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One adapter to train; picklable. `directory` gets the adapter, `checkpoint` the progress until then."""

    name: str
    family: Family
    base: BaseModel
    samples: str
    directory: Path
    checkpoint: Path
    lora: LoraShape
    schedule: Schedule
    seed: int
    device: str
    limits: Limits = USUAL


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """How a training ended: steps taken, the step whose adapter was kept, and its held-out loss."""

    name: str
    steps: int
    best_step: int
    validation_loss: float
