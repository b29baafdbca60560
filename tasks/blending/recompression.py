"""What to do with the rank of a blend. Exact blending adds ranks up; truncation is optimal and reports what it lost."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exact:
    """Keep every direction: the rank is the sum of the adapters' ranks."""


@dataclass(frozen=True, slots=True)
class ToRank:
    """The best approximation of a fixed rank."""

    rank: int


@dataclass(frozen=True, slots=True)
class ToEnergy:
    """The smallest rank per module that keeps this share (0 < share <= 1) of the squared norm."""

    share: float


Recompression = Exact | ToRank | ToEnergy
