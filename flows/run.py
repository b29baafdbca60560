"""What every stage of a run is handed: the project, its workspace, its workers, and what the last night remembered."""

import contextlib
import fcntl
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cluster import Workers
from flows.errors import WorkspaceBusy
from flows.progress import Stages
from flows.settings import Project, ProjectSettings, load_project
from flows.stopwatch import Stopwatch
from flows.workspace import Workspace
from tasks.library.base_model import BaseModel, resolve_base
from tasks.library.memory import Memory, load_memory, save_memory

if TYPE_CHECKING:
    from flows.stock import Catalogue
    from tasks.registry.store import Registry


@dataclass(frozen=True, slots=True)
class Run:
    """One run over one project."""

    project: Project
    workspace: Workspace
    workers: Workers
    memory: Memory
    stages: Stages
    models: dict[str, BaseModel] = field(default_factory=dict)  # resolved so far; a hub id asks the hub once a run
    watch: Stopwatch = field(default_factory=Stopwatch)
    catalogue: "Future[Catalogue]" = field(default_factory=Future)  # done where the project was looked at ahead

    def registry(self) -> "Registry":
        """The MLflow side of the project."""
        from tasks.registry.store import Registry  # a second and a half to import

        return Registry(self.project.tracking_uri, experiment=self.project.name, artifacts=self.workspace.artifacts)

    def champion_adapter(self, target: str) -> Path | None:
        """A local directory with the adapter of the target's champion, where it has one."""
        registry = self.registry()
        champion = registry.by_alias(self.project.model_name(target), "champion")
        if champion is None:
            return None
        # A directory of its own: targets are evaluated side by side.
        return registry.download(champion, self.workspace.champion(target, champion.version))

    def model(self, name: str | None) -> BaseModel | None:
        """A model beside the base, a local directory or a hub id; None for None. Raises InvalidInput."""
        if name is None:
            return None
        if name not in self.models:
            self.models[name] = resolve_base(name, None, self.project.root, self.memory.digests)
        return self.models[name]

    @property
    def settings(self) -> ProjectSettings:
        """The project file's content."""
        return self.project.settings


@contextlib.contextmanager
def _only_writer(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkspaceBusy(f"another run is writing to {lock.parent}; wait for it, or end it") from error
        yield  # the kernel drops the lock with the process, however it ends


@contextlib.contextmanager
def _opened(project: Project) -> Iterator[Run]:
    workspace = Workspace(project)
    with _only_writer(workspace.lock), Workers(project.settings.cluster) as workers, Stages() as stages:
        memory = load_memory(workspace.memory)
        yield Run(project, workspace, workers, memory, stages)
        save_memory(workspace.memory, memory)


# A flow is handed the path of a project and nothing else, so what was opened for it waits here under that path.
_ahead: dict[Path, tuple[contextlib.ExitStack, Run]] = {}


@contextlib.contextmanager
def opened_ahead(project: Project) -> Iterator[Run]:
    """Open a project for the flow that will open it next, which takes it over and closes it; else it is closed here.

    Whoever looked ahead pauses the run's watch, and taking over resumes it.
    Raises WorkspaceBusy beside another run.
    """
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(_opened(project))
        _ahead[project.file] = stack, run
        try:
            yield run
        finally:
            _ahead.pop(project.file, None)


@contextlib.contextmanager
def open_run(location: Path) -> Iterator[Run]:
    """Open a project for writing; raises InvalidInput for a bad project file and WorkspaceBusy beside another run."""
    project = load_project(location)
    if project.file in _ahead:
        stack, run = _ahead.pop(project.file)
        run.watch.resume()
        with stack:
            yield run
    else:
        with _opened(project) as run:
            yield run


@contextlib.contextmanager
def peek_run(location: Path) -> Iterator[Run]:
    """Open a project for reading: no lock, and nothing is written. Raises InvalidInput for a bad project file."""
    project = load_project(location)
    workspace = Workspace(project)
    with Workers(project.settings.cluster) as workers, Stages() as stages:
        yield Run(project, workspace, workers, load_memory(workspace.memory), stages)
