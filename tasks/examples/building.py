"""What the examples share: a base, then one member after another in worker processes, then project.yaml."""

import contextlib
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tasks.examples.project import new_project
from tasks.examples.tables import write_columns
from tasks.library.base_model import BaseModel
from tasks.library.families import Family
from tasks.training.job import LoraShape, Schedule, TrainingJob
from tasks.training.train import train_adapter

Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all
_RANK, _RATE = 4, 8e-3  # of the adapters: small models take large steps
BASE_NAME = "base"  # the directory beside project.yaml; a relative name, so that the project can be moved


@dataclass(frozen=True, slots=True)
class Member:
    """A reference or a target of an example: its folder below the project, and the seed of all it draws."""

    name: str
    folder: str
    seed: int

    def within(self, project: Path) -> Path:
        """Its folder."""
        return project / self.folder


@dataclass(frozen=True, slots=True)
class FineTuning:
    """How an example trains its adapters: family, LoRA's modules (None: the family's usual ones), and the schedule."""

    family: Family
    layers: tuple[str, ...] | str | None
    steps: int
    batch_size: int
    validate_every: int


@dataclass(frozen=True, slots=True)
class Plan:
    """An example: how its base and each member are made (functions that worker processes can import), and who is in it.

    `settings` is project.yaml besides base_model, library and targets.
    """

    make_base: Callable[[Path, int], None]
    make_member: Callable[[Path, Member, int], None]
    references: tuple[str, ...]
    targets: tuple[str, ...]
    settings: Mapping[str, Any]


def build_project(directory: Path, plan: Plan, *, seed: int, progress: Progress) -> None:
    """Write a complete, runnable project; two builds with one seed are equal byte for byte.

    Raises `InvalidInput` if the directory exists and is not empty. It appears at once, when everything is in it.
    """
    references, targets = _members(plan, seed)
    everyone = [*references, *targets]
    with new_project(directory) as project:
        with _processes() as pool:
            pool.submit(plan.make_base, project, seed).result()
            progress("base model", 1, 1)
            jobs = [pool.submit(plan.make_member, project, member, seed) for member in everyone]
            for done, job in enumerate(as_completed(jobs), start=1):
                job.result()
                progress("adapters", done, len(everyone))
        settings = {
            "base_model": BASE_NAME,
            "library": [_entry(project, member) for member in references],
            "targets": [_entry(project, member) for member in targets],  # their adapter is the ceiling, never blended
            **plan.settings,
        }
        (project / "project.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


@contextlib.contextmanager
def _processes() -> Iterator[ProcessPoolExecutor]:
    """A process for each core; they end at once when the block is left by an error, whatever they are training."""
    before = set(multiprocessing.active_children())
    # spawn: a forked child would inherit torch's thread pool in an undefined state
    pool = ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown()


def train_member(
    project: Path, member: Member, columns: Mapping[str, Sequence[bytes] | Sequence[str]], tuning: FineTuning
) -> None:
    """Train the member's adapter on labelled columns, which are not kept: a library holds adapters, not labels."""
    with tempfile.TemporaryDirectory() as temporary:
        labelled = Path(temporary) / "labelled.parquet"
        write_columns(columns, labelled)
        train_adapter(_job(project, member, labelled, tuning), lambda step, metrics: None)


def _job(project: Path, member: Member, labelled: Path, tuning: FineTuning) -> TrainingJob:
    return TrainingJob(
        name=member.name,
        family=tuning.family,
        base=BaseModel(BASE_NAME, None, project / BASE_NAME, BASE_NAME),
        samples=str(labelled),
        directory=member.within(project) / "adapter",
        checkpoint=labelled.with_name("checkpoint.safetensors"),
        lora=LoraShape(rank=_RANK, alpha=_RANK, dropout=0.0, targets=tuning.layers),
        schedule=Schedule(
            steps=tuning.steps,
            batch_size=tuning.batch_size,
            learning_rate=_RATE,
            weight_decay=0.0,
            clip=1.0,
            warmup=0.1,
            validation=0.1,
            validate_every=tuning.validate_every,
            patience=tuning.steps,
            checkpoint_every=tuning.steps,
        ),
        seed=member.seed,
        device="cpu",
    )


def _members(plan: Plan, seed: int) -> tuple[list[Member], list[Member]]:
    folders = [(name, f"library/{name}") for name in plan.references] + [
        (name, f"targets/{name}") for name in plan.targets
    ]
    members = [Member(name, folder, 1000 * (seed + 1) + index) for index, (name, folder) in enumerate(folders)]
    return members[: len(plan.references)], members[len(plan.references) :]


def _entry(project: Path, member: Member) -> dict[str, str]:
    entry = {
        "name": member.name,
        "adapter": f"{member.folder}/adapter",
        "samples": f"{member.folder}/samples.parquet",
        "evaluation": f"{member.folder}/evaluation.parquet",
    }
    return {key: value for key, value in entry.items() if key == "name" or (project / value).exists()}
