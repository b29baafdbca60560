"""Which kind of reference is missing: what targets that are not served leave unexplained, and who shares it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Wanted:
    """A reference like target `like` would explain what these targets, itself the first, leave unexplained."""

    like: str
    serves: tuple[str, ...]


def wanted_references(residuals: Mapping[str, np.ndarray], *, alike: float, most: int) -> tuple[Wanted, ...]:
    """At most `most` references to add, those that serve most targets first.

    `residuals`: by target, what its prototype keeps beyond its composition, (d,). Two targets lack the same thing where
    the cosine of these is at least `alike`. Greedy, ties by name; a target whose residual is zero lacks nothing.
    """
    names = sorted(name for name, vector in residuals.items() if np.linalg.norm(vector) > 0)
    if not names:
        return ()
    units = np.stack([residuals[name] / np.linalg.norm(residuals[name]) for name in names])
    shared = units @ units.T >= alike
    np.fill_diagonal(shared, True)
    left = np.ones(len(names), dtype=bool)
    found: list[Wanted] = []
    while left.any() and len(found) < most:
        best = int(np.argmax(np.where(left, (shared & left).sum(axis=1), -1)))
        others = [names[row] for row in np.flatnonzero(shared[best] & left) if row != best]
        found.append(Wanted(names[best], (names[best], *others)))
        left &= ~shared[best]
    return tuple(found)
