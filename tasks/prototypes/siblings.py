"""Siblings: tasks with the same samples and other labels, which no prototype of the samples can tell apart. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.files import digest_bytes


@dataclass(frozen=True, slots=True)
class Siblings:
    """Names of tasks whose samples coincide, in order."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        """What it means and what to do."""
        return (
            f"{', '.join(self.names)} have the same samples, so their prototypes cannot tell them apart; "
            "give each a `description` and set its weight, or keep one of them"
        )


def siblings_among(names: Sequence[str], prototypes: NDArray[np.float32]) -> list[Siblings]:
    """Groups of two or more of the names, sorted, that have one and the same row of `prototypes` (n, d).

    The prototypes are compared, not the files: a label column beside the samples makes another file of them. A
    prototype is the same bits whenever the samples are, and never twice by chance.
    """
    groups: dict[str, list[str]] = {}
    for name, row in sorted(zip(names, prototypes, strict=True), key=lambda pair: pair[0]):
        groups.setdefault(digest_bytes(row.tobytes()), []).append(name)
    return [Siblings(tuple(alike)) for alike in groups.values() if len(alike) > 1]
