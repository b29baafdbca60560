"""The look at a project: what is sound of it, and the snapshot of that. It needs no service, so it may begin early."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.files import Failure, InvalidInput, Problem
from tasks.library.base_model import resolve_base
from tasks.library.discovery import discover
from tasks.library.snapshot import Snapshot, Target, take_snapshot, take_targets
from tasks.library.validation import examine

if TYPE_CHECKING:
    from flows.run import Run


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the project file names, as far as it is sound."""

    snapshot: Snapshot
    targets: tuple[Target, ...]
    failures: tuple[Failure, ...]


def look(run: "Run") -> Catalogue:
    """Examine every entry and take the snapshot of what is sound; the rest is listed and left out. Computes nothing.

    Raises InvalidInput where not even the entries can be found, or none of the library is sound.
    """
    settings = run.settings
    base = resolve_base(settings.base_model, settings.revision, run.project.root, run.memory.digests)
    found = examine(
        discover(settings.library, root=run.project.root),
        discover(settings.targets, root=run.project.root),
        base=base,
        family=settings.family,
        aliases=frozenset(settings.aliases),
        root=run.project.root,
        memory=run.memory,
    )
    failures = tuple(Failure(p.item, "check", p.problem, p.remedy) for p in found.problems)
    if not found.library:
        raise InvalidInput(*found.problems, Problem("library", "no reference is sound", "repair the entries above"))
    snapshot = take_snapshot(found.library, base=base, cache=run.memory.digests)
    return Catalogue(snapshot, take_targets(found.targets, cache=run.memory.digests), failures)


def look_ahead(run: "Run") -> None:
    """Look now, and leave what is found, or why there is nothing, for the flow to take up."""
    try:
        run.catalogue.set_result(look(run))
    except Exception as error:
        run.catalogue.set_exception(error)
