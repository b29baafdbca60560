"""Build the digits project: six references, ten targets that combine two conditions each, and one base model."""

from functools import partial
from pathlib import Path

from tasks.examples.building import Plan, Progress, build_project
from tasks.examples.digits.conditions import CLEAN, PAIRS, SINGLES
from tasks.examples.digits.members import FULL, Effort, make_base, make_member


def build(directory: Path, *, seed: int, progress: Progress, effort: Effort = FULL) -> None:
    """Write the project; raises `InvalidInput` if the directory exists and is not empty."""
    build_project(directory, plan_of(effort), seed=seed, progress=progress)


def plan_of(effort: Effort) -> Plan:
    """Who is in the project and how each is made."""
    return Plan(
        make_base=partial(make_base, steps=effort.base),
        make_member=partial(make_member, steps=effort.adapter),
        references=tuple(condition.name for condition in (CLEAN, *SINGLES)),
        targets=tuple(condition.name for condition in PAIRS),
        settings={"family": "encoder", "prototypes": {"pooling": "map"}},
    )
