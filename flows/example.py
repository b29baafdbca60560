"""Example: a complete project on embedded data, made whole or not at all."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flows.progress import Stages
from tasks.files import InvalidInput, Problem

Progress = Callable[[str, int, int], None]


def _digits() -> Callable[..., None]:
    from tasks.examples.digits.build import build

    return build


_BUILDERS: dict[str, Callable[[], Callable[..., None]]] = {"digits": _digits}


@contextlib.contextmanager
def _reported() -> Iterator[Progress]:
    with Stages() as stages, contextlib.ExitStack() as stack:
        bars: dict[str, Any] = {}
        done: dict[str, int] = {}

        def progress(name: str, count: int, total: int) -> None:
            if name not in bars:
                bars[name], done[name] = stack.enter_context(stages.stage(name, total)), 0
            bars[name](count - done[name])
            done[name] = count

        yield progress


def make_example(directory: Path, domain: str, *, seed: int) -> dict[str, Any]:
    """Build the example of a domain in a new directory; raises InvalidInput where there is something already."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InvalidInput(Problem(str(directory), "it exists already and is not empty", "name a new directory"))
    directory.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}.") as temporary,
        _reported() as progress,
    ):
        made = Path(temporary) / directory.name
        _BUILDERS[domain]()(made, seed=seed, progress=progress)
        made.replace(directory)
    return {"project": str(directory / "project.yaml"), "domain": domain, "seed": seed}
