"""One condition's share of the project: its samples, its evaluation set and its adapter. Runs in a worker process."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model
from transformers import ViTForImageClassification
from transformers.utils import logging as transformers_logging

from tasks.examples.digits.conditions import CLEAN, Condition, acquire
from tasks.examples.digits.data import COUNT, draw, read_digits, write_evaluation, write_samples
from tasks.examples.digits.model import adapter_settings, fit, untrained_base

BASE_NAME = "base"  # the directory beside project.yaml; a relative name, so that the project can be moved
_BASE_RATE = 4e-3
_ADAPTER_RATE = 8e-3


@dataclass(frozen=True, slots=True)
class Effort:
    """Training steps."""

    base: int
    adapter: int


# A base at 96 % on clean digits; with 300 steps it has 87 % and all adapters, the ceilings too, stay 15 points lower.
FULL = Effort(base=1000, adapter=240)


@dataclass(frozen=True, slots=True)
class Member:
    """A reference or a target of the example: what it sees, where it is kept, and its own seed."""

    condition: Condition
    folder: str  # relative to the project
    seed: int


def make_base(project: Path, seed: int, steps: int) -> None:
    """Train the base on clean digits alone and save it."""
    _settle(seed)
    generator = torch.Generator().manual_seed(seed)
    pool, _ = read_digits(seed)
    model = untrained_base()
    fit(
        model,
        pool.images,
        pool.labels,
        view=lambda images: acquire(images, CLEAN, generator=generator),
        steps=steps,
        batch=48,
        learning_rate=_BASE_RATE,
        generator=generator,
    )
    model.save_pretrained(project / BASE_NAME)


def make_member(project: Path, member: Member, data_seed: int, steps: int) -> None:
    """Write the member's files; the adapter is trained on the digits of its sample set, with their labels."""
    _settle(member.seed)
    generator = torch.Generator().manual_seed(member.seed)
    pool, held_out = read_digits(data_seed)
    seen, unseen = draw(pool, COUNT, generator=generator), draw(held_out, COUNT, generator=generator)
    folder = project / member.folder
    write_samples(acquire(seen.images, member.condition, generator=generator), folder / "samples.parquet")
    shown = acquire(unseen.images, member.condition, generator=generator)
    write_evaluation(shown, unseen.labels, folder / "evaluation.parquet")
    base = ViTForImageClassification.from_pretrained(project / BASE_NAME, local_files_only=True)
    model = get_peft_model(base, adapter_settings())
    fit(
        model,
        seen.images,
        seen.labels,
        view=lambda images: acquire(images, member.condition, generator=generator),
        steps=steps,
        batch=32,
        learning_rate=_ADAPTER_RATE,
        generator=generator,
    )
    save_adapter(model, folder / "adapter")


def _settle(seed: int) -> None:
    torch.set_num_threads(1)  # one thread: the sums, and so the files, are the same on every machine size
    torch.manual_seed(seed)
    transformers_logging.disable_progress_bar()


def save_adapter(model: PeftModel, directory: Path) -> None:
    """PEFT's own files, with the sets in the configuration sorted: Python orders them anew in each process."""
    model.save_pretrained(str(directory), save_embedding_layers=False)
    path = directory / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = BASE_NAME  # PEFT put the directory in, which is temporary while building
    settings["target_modules"] = sorted(settings["target_modules"])
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (directory / "README.md").unlink()  # PEFT's empty model card
