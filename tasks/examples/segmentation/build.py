"""Build the segmentation project: six lights in the library; targets inside of it, and beyond its edge."""

from functools import partial
from pathlib import Path

from tasks.examples.building import Plan, Progress, build_project
from tasks.examples.segmentation.members import FULL, Effort, make_base, make_member
from tasks.examples.segmentation.pages import EDGE, INSIDE, LIBRARY


def build(directory: Path, *, seed: int, progress: Progress, effort: Effort = FULL) -> None:
    """Write the project; raises `InvalidInput` if the directory exists and is not empty."""
    build_project(directory, plan_of(effort), seed=seed, progress=progress)


def plan_of(effort: Effort) -> Plan:
    """Who is in the project and how each is made."""
    return Plan(
        make_base=partial(make_base, steps=effort.base),
        make_member=partial(make_member, steps=effort.adapter),
        references=tuple(light.name for light in LIBRARY),
        targets=tuple(light.name for light in (*INSIDE, *EDGE)),
        settings={"family": "segmentation", "prototypes": {"pooling": "map"}},
    )
