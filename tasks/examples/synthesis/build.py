"""Build the synthesis project: six drawing styles in the library, and ten targets of two styles at once."""

from functools import partial
from pathlib import Path

from tasks.examples.building import Plan, Progress, build_project
from tasks.examples.synthesis.members import FULL, Effort, make_base, make_member
from tasks.examples.synthesis.pictures import REFERENCES, TARGETS


def build(directory: Path, *, seed: int, progress: Progress, effort: Effort = FULL) -> None:
    """Write the project; raises `InvalidInput` if the directory exists and is not empty."""
    build_project(directory, plan_of(effort), seed=seed, progress=progress)


def plan_of(effort: Effort) -> Plan:
    """Who is in the project and how each is made."""
    return Plan(
        make_base=partial(make_base, effort=effort),
        make_member=partial(make_member, effort=effort),
        references=tuple(style.name for style in REFERENCES),
        targets=tuple(style.name for style in TARGETS),
        settings={"family": "diffusion"},
    )
