"""Compose: many targets, each projected, blended, evaluated and registered.

prototypes -> neighbourhoods -> projection -> composition -> blended adapter -> scores -> model version
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from flows.building import Built, build_targets, is_whole, planned, with_scores
from flows.choosing import choose_settings
from flows.frame import Frames
from flows.projecting import project_targets
from flows.refresh import Library, refresh_library
from flows.report import Report
from flows.run import Run, open_run
from tasks.files import Failure, InvalidInput, Problem


@dataclass(frozen=True, slots=True)
class Composed:
    """What the compose stage leaves for registering."""

    built: Mapping[str, Built]
    solved: int
    failures: tuple[Failure, ...]


def _selection(library: Library, selected: Collection[str]) -> list[str]:
    unknown = sorted(set(selected) - {target.name for target in library.targets})
    if unknown:
        known = ", ".join(sorted(target.name for target in library.targets))
        raise InvalidInput(
            *(Problem(name, "it is not a sound target of this project", f"targets: {known}") for name in unknown)
        )
    wanted = [target.name for target in library.targets if not selected or target.name in selected]
    return [name for name in wanted if name in library.target_prototypes]


def compose_targets(run: Run, library: Library, *, selected: Collection[str]) -> Composed:
    """Compose the selected targets, all of them where none is named."""
    names = _selection(library, selected)
    frames = Frames(run, library)
    usual = frames.under(run.settings.projection)
    choices = choose_settings(run, library, names)
    compositions = project_targets(run, library, frames, choices.settings)
    targets = {target.name: target for target in library.targets}
    plans = {
        name: planned(run, library, targets[name], composition, choices)
        for name, composition in sorted(compositions.by_target.items())
    }
    failures = build_targets(run, library, usual, plans)
    finished = {name: with_scores(plan) for name, plan in plans.items()}
    whole = {name: built for name, built in finished.items() if is_whole(built)}
    return Composed(whole, compositions.solved, compositions.failures + failures)


@flow(name="compose")
def compose(project: str, targets: list[str]) -> Report:
    """Refresh what the targets need, then project, blend, evaluate and register them."""
    from flows.register import register_run

    with open_run(Path(project)) as run:
        library = refresh_library(run)
        composed = compose_targets(run, library, selected=tuple(targets))
        return register_run(run, library, composed, run_id=str(flow_run.id))
