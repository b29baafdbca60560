"""Example: a complete project on embedded data, made whole or not at all."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flows.progress import Stages
from flows.services import quiet_libraries

Progress = Callable[[str, int, int], None]


def _digits(directory: Path, *, seed: int, progress: Progress) -> None:
    from tasks.examples.digits.build import build

    build(directory, seed=seed, progress=progress)


def _segmentation(directory: Path, *, seed: int, progress: Progress) -> None:
    from tasks.examples.segmentation.build import build

    build(directory, seed=seed, progress=progress)


def _reports(directory: Path, *, seed: int, progress: Progress) -> None:
    from tasks.examples.reports.build import build

    build(directory, seed=seed, progress=progress)


def _synthesis(directory: Path, *, seed: int, progress: Progress) -> None:
    from tasks.examples.synthesis.build import build

    build(directory, seed=seed, progress=progress)


_BUILDERS: dict[str, Callable[..., None]] = {
    "digits": _digits,
    "segmentation": _segmentation,
    "reports": _reports,
    "synthesis": _synthesis,
}


@contextlib.contextmanager
def _reported() -> Iterator[Progress]:
    with Stages() as stages, contextlib.ExitStack() as stack:
        bars: dict[str, Callable[[int], None]] = {}

        def progress(name: str, count: int, total: int) -> None:
            if name not in bars:
                bars[name] = stack.enter_context(stages.stage(name, total))
            bars[name](1)

        yield progress


def make_example(directory: Path, domain: str, *, seed: int) -> dict[str, Any]:
    """Build the example of a domain in a new directory; raises InvalidInput where there is something already."""
    with quiet_libraries(), _reported() as progress:
        _BUILDERS[domain](directory, seed=seed, progress=progress)
    return {"project": str(directory / "project.yaml"), "domain": domain, "seed": seed}
