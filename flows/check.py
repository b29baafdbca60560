"""Check: everything that is wrong with a project, at once, without computing anything and without a service."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from flows.settings import Project, load_project
from flows.workspace import Workspace
from tasks.files import InvalidInput, Problem
from tasks.library.base_model import resolve_base
from tasks.library.discovery import discover
from tasks.library.memory import load_memory
from tasks.library.validation import problems_of


def _attempt(found: list[Problem], action: Callable[[], Any]) -> Any:
    """The action's result; its problems go to `found`, so that one bad part does not hide the others."""
    try:
        return action()
    except InvalidInput as error:
        found += error.problems
        return None


def project_problems(project: Project) -> list[Problem]:
    """Problems of the base model, the library and the targets of a project whose file is sound."""
    settings, found = project.settings, list[Problem]()
    # What earlier runs verified is believed; nothing is written, so that a check leaves no trace.
    memory = load_memory(Workspace(project).memory)
    base = _attempt(found, lambda: resolve_base(settings.base_model, settings.revision, project.root, memory.digests))
    how = settings.prototypes
    for other in (how.encoder, how.description_encoder, settings.evaluation.feature_model):
        if other is not None:
            _attempt(found, partial(resolve_base, other, None, project.root, memory.digests))
    library = _attempt(found, lambda: discover(settings.library, root=project.root))
    targets = _attempt(found, lambda: discover(settings.targets, root=project.root))
    if base is None:
        return found
    return found + problems_of(
        library or (),
        targets or (),
        base=base,
        family=settings.family,
        aliases=frozenset(settings.aliases),
        root=project.root,
        memory=memory,
    )


def check_project(location: Path) -> list[Problem]:
    """Every problem of a project; those of the project file itself come alone, as nothing can be read without it."""
    try:
        return project_problems(load_project(location))
    except InvalidInput as error:
        return list(error.problems)
