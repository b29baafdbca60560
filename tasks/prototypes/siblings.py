"""Siblings: tasks with the same samples and other labels, which no prototype of the samples can tell apart. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.prototypes.statistics import Prototype


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


def siblings_among(prototypes: Mapping[str, Prototype]) -> list[Siblings]:
    """Groups of two or more names with one and the same prototype, in order.

    The prototypes are compared, not the files: a label column beside the samples makes another file of them. A
    prototype is the same bits whenever the samples are, and never twice by chance.
    """
    groups: dict[bytes, list[str]] = {}
    for name in sorted(prototypes):
        groups.setdefault(prototypes[name].prototype.tobytes(), []).append(name)
    return [Siblings(tuple(names)) for names in groups.values() if len(names) > 1]
