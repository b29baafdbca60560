"""Build the reports project: six departments in the library, and nine that write in two of their styles at once."""

from functools import partial
from pathlib import Path

from tasks.examples.building import Plan, Progress, build_project
from tasks.examples.reports.members import FULL, Effort, make_base, make_member
from tasks.examples.reports.texts import REFERENCES, TARGETS


def build(directory: Path, *, seed: int, progress: Progress, effort: Effort = FULL) -> None:
    """Write the project; raises `InvalidInput` if the directory exists and is not empty."""
    build_project(directory, plan_of(effort), seed=seed, progress=progress)


def plan_of(effort: Effort) -> Plan:
    """Who is in the project and how each is made."""
    return Plan(
        make_base=partial(make_base, steps=effort.base),
        make_member=partial(make_member, steps=effort.adapter),
        references=REFERENCES,
        targets=TARGETS,
        settings={"family": "causal-lm"},
    )
