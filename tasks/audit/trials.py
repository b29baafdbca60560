"""Trials: tasks that the audit makes from the library itself, whose labels are known and whose adapters are hidden.

LEFT_OUT hides a reference. In a library of single conditions no reference can be rebuilt from the others, and such an
audit refuses just where targets, combinations of the references, gain most. So references are also pooled in pairs, as
if the samples of both had come in one batch. The prototype of a pool is the mean of the two and its labelled samples
are those of both: an honest task between the references. HALF pools a hidden reference with one that is kept, and lies
between what the library holds and what it does not; POOLED keeps both, and asks whether a blend serves both at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from tasks.files import digest_value


class Kind(Enum):
    """What of the library a trial may use."""

    LEFT_OUT = "left out"
    HALF = "half left out"
    POOLED = "pooled"


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial on reference `name`, pooled with `partner` unless it is LEFT_OUT."""

    kind: Kind
    name: str
    partner: str | None

    @property
    def members(self) -> tuple[str, ...]:
        """References whose labelled samples the trial is scored on, in equal shares."""
        return (self.name,) if self.partner is None else (self.name, self.partner)

    @property
    def hidden(self) -> frozenset[str]:
        """References that the composition may not use."""
        return frozenset() if self.kind is Kind.POOLED else frozenset({self.name})

    @property
    def label(self) -> str:
        """Unique and readable."""
        return self.name if self.partner is None else f"{self.name}+{self.partner} ({self.kind.value})"


def _partners(name: str, names: Sequence[str], count: int, *, seed: int) -> list[str]:
    # By digest: a reference keeps its partners when others come and go, so that its trials stay evaluated.
    others = sorted((digest_value([seed, *sorted((name, other))]), other) for other in names if other != name)
    return [other for _, other in others[:count]]


def trials_of(names: Sequence[str], *, halves: int, pools: int, seed: int) -> tuple[Trial, ...]:
    """Each name left out, half left out with `halves` partners, and pooled with `pools` partners; ordered by name."""
    trials: dict[str, Trial] = {}
    for name in sorted(names):
        found = [Trial(Kind.LEFT_OUT, name, None)]
        found += [Trial(Kind.HALF, name, partner) for partner in _partners(name, names, halves, seed=seed)]
        pairs = (sorted((name, partner)) for partner in _partners(name, names, pools, seed=seed))
        found += [Trial(Kind.POOLED, first, second) for first, second in pairs]
        trials |= {trial.label: trial for trial in found}
    return tuple(trials.values())


def pooled_vector(trial: Trial, vectors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean (d,) float64 of the members' vectors: the prototype of equally many samples of each."""
    return np.mean([vectors[name].astype(np.float64) for name in trial.members], axis=0)
