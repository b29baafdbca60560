"""A new project directory that appears whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.files import InvalidInput, Problem, atomic_directory


@contextmanager
def new_project(directory: Path) -> Iterator[Path]:
    """Yield a temporary directory to fill; on success it becomes `directory`, which must be new or empty."""
    if directory.exists():
        if not directory.is_dir() or any(directory.iterdir()):
            raise InvalidInput(
                Problem(str(directory), "is there already and not empty", "name a new directory or empty this one")
            )
        directory.rmdir()
    with atomic_directory(directory) as temporary:
        yield temporary
