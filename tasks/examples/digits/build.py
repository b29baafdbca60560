"""Build the digits project: six references, ten targets that combine two conditions each, and one base model."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import yaml

from tasks.examples.digits.conditions import CLEAN, PAIRS, SINGLES
from tasks.examples.digits.members import BASE_NAME, FULL, Effort, Member, make_base, make_member
from tasks.examples.project import new_project

Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all


def build(directory: Path, *, seed: int, progress: Progress, effort: Effort = FULL) -> None:
    """Write a complete, runnable project; two builds with one seed are equal byte for byte.

    Raises `InvalidInput` if the directory exists and is not empty. It appears at once, when everything is in it.
    """
    references, targets = _members(seed)
    everyone = [*references, *targets]
    with new_project(directory) as project:
        # spawn: a forked child would inherit torch's thread pool in an undefined state
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
            pool.submit(make_base, project, seed, effort.base).result()
            progress("base model", 1, 1)
            jobs = [pool.submit(make_member, project, member, seed, effort.adapter) for member in everyone]
            for done, job in enumerate(as_completed(jobs), start=1):
                job.result()
                progress("adapters", done, len(everyone))
        text = yaml.safe_dump(_settings(references, targets), sort_keys=False)
        (project / "project.yaml").write_text(text, encoding="utf-8")


def _members(seed: int) -> tuple[list[Member], list[Member]]:
    references = [(condition, f"library/{condition.name}") for condition in (CLEAN, *SINGLES)]
    targets = [(condition, f"targets/{condition.name}") for condition in PAIRS]
    members = [
        Member(condition, folder, 1000 * (seed + 1) + index)
        for index, (condition, folder) in enumerate([*references, *targets])
    ]
    return members[: len(references)], members[len(references) :]


def _settings(references: list[Member], targets: list[Member]) -> dict[str, Any]:
    return {
        "base_model": BASE_NAME,
        "family": "encoder",
        "library": [_entry(member) for member in references],
        "targets": [
            _entry(member) for member in targets
        ],  # a target's adapter is its ceiling: evaluated, never blended
        "prototypes": {"pooling": "map"},
    }


def _entry(member: Member) -> dict[str, str]:
    return {
        "name": member.condition.name,
        "adapter": f"{member.folder}/adapter",
        "samples": f"{member.folder}/samples.parquet",
        "evaluation": f"{member.folder}/evaluation.parquet",
    }
