"""When a new version becomes champion. Pure: it sees differences, expectations and coverage, and says yes or no."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contest:
    """A version against one incumbent on the same labelled samples.

    lead: mean of the samples' paired differences, positive where the version is better; `lead_low` is the lower end of
    its bootstrap interval over samples, which holds `level` of the resamples.
    """

    metric: str
    challenger: float
    incumbent: float
    incumbent_name: str  # "base", or "champion"
    lead: float
    lead_low: float
    level: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the version is promoted, and why; the reason goes into the version's tags."""

    promoted: bool
    reason: str


def _sentence(contest: Contest) -> str:
    relation = "is surely not worse than" if contest.lead_low >= 0 else "is not surely better than"
    return (
        f"{contest.metric} {contest.challenger:.4f} {relation} the {contest.incumbent_name}'s {contest.incumbent:.4f}: "
        f"paired difference {contest.lead:+.4f}, {contest.level:.0%} interval from {contest.lead_low:+.4f}"
    )


def decide_by_labels(contests: Sequence[Contest]) -> Verdict:
    """Promote where no contest's bound is below zero: against the base model, and the champion where there is one.

    The base always competes: a champion whose labels have changed and that now does harm must not stay.
    """
    lost = [contest for contest in contests if contest.lead_low < 0]
    told = lost or list(contests)
    return Verdict(not lost, "; ".join(_sentence(contest) for contest in told))


def decide_by_coverage(coverage: float, *, floor: float) -> Verdict:
    """Without labels and without an audit: promote what the library explains at least as well as the floor."""
    promoted = coverage >= floor
    relation = "reaches" if promoted else "is below"
    return Verdict(promoted, f"no labels, no audit; coverage {coverage:.3f} {relation} the floor {floor:.3f}")
