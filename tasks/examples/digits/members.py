"""One condition's share of the project: its samples, its evaluation set and its adapter. Runs in a worker process."""

from dataclasses import dataclass
from pathlib import Path

import torch
from peft import get_peft_model
from transformers import ViTForImageClassification

from tasks.examples.building import BASE_NAME, Member
from tasks.examples.digits.conditions import CLEAN, PAIRS, SINGLES, acquire
from tasks.examples.digits.data import COUNT, draw, read_digits, write_evaluation, write_samples
from tasks.examples.digits.model import adapter_settings, batch_loss, untrained_base
from tasks.examples.fitting import fit
from tasks.examples.settling import settle
from tasks.training.train import settle_config

_BASE_RATE = 4e-3
_ADAPTER_RATE = 8e-3


@dataclass(frozen=True, slots=True)
class Effort:
    """Training steps."""

    base: int
    adapter: int


# A base at 96 % on clean digits; with 300 steps it has 87 % and all adapters, the ceilings too, stay 15 points lower.
FULL = Effort(base=1000, adapter=240)

_CONDITIONS = {condition.name: condition for condition in (CLEAN, *SINGLES, *PAIRS)}


def make_base(project: Path, seed: int, steps: int) -> None:
    """Train the base on clean digits alone and save it."""
    settle(seed)
    generator = torch.Generator().manual_seed(seed)
    pool, _ = read_digits(seed)
    model = untrained_base()

    def loss() -> torch.Tensor:
        return batch_loss(
            model,
            pool,
            view=lambda images: acquire(images, CLEAN, generator=generator),
            batch=48,
            generator=generator,
        )

    fit(model, loss, steps=steps, learning_rate=_BASE_RATE)
    model.save_pretrained(project / BASE_NAME)


def make_member(project: Path, member: Member, data_seed: int, steps: int) -> None:
    """Write the member's files; the adapter is trained on the digits of its sample set, with their labels."""
    settle(member.seed)
    generator = torch.Generator().manual_seed(member.seed)
    pool, held_out = read_digits(data_seed)
    seen, unseen = draw(pool, COUNT, generator=generator), draw(held_out, COUNT, generator=generator)
    folder, condition = member.within(project), _CONDITIONS[member.name]
    write_samples(acquire(seen.images, condition, generator=generator), folder / "samples.parquet")
    shown = acquire(unseen.images, condition, generator=generator)
    write_evaluation(shown, unseen.labels, folder / "evaluation.parquet")
    base = ViTForImageClassification.from_pretrained(project / BASE_NAME, local_files_only=True)
    model = get_peft_model(base, adapter_settings())

    def loss() -> torch.Tensor:
        return batch_loss(
            model,
            seen,
            view=lambda images: acquire(images, condition, generator=generator),
            batch=32,
            generator=generator,
        )

    fit(model, loss, steps=steps, learning_rate=_ADAPTER_RATE)
    model.save_pretrained(str(folder / "adapter"), save_embedding_layers=False)
    settle_config(folder / "adapter", BASE_NAME)
