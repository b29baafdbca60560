"""When a new version becomes champion. Pure: it sees scores and coverage, and says yes or no with the reason."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contest:
    """What a version is judged by: its own metric and the incumbent's, measured on the same labelled samples."""

    metric: str
    higher_is_better: bool
    challenger: float
    incumbent: float
    incumbent_name: str  # "champion", or "base" where nothing has been promoted yet


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the version is promoted, and why; the reason goes into the version's tags."""

    promoted: bool
    reason: str


def decide_by_labels(contest: Contest) -> Decision:
    """Promote unless the challenger's metric is worse than the incumbent's.

    Without a champion the base model is the incumbent: an adapter that does harm must not be served.
    """
    sign = 1 if contest.higher_is_better else -1
    promoted = sign * (contest.challenger - contest.incumbent) >= 0
    relation = "not worse than" if promoted else "worse than"
    reason = (
        f"{contest.metric} {contest.challenger:.4f} is {relation} "
        f"the {contest.incumbent_name}'s {contest.incumbent:.4f} on the same samples"
    )
    return Decision(promoted, reason)


def decide_by_coverage(coverage: float, *, floor: float) -> Decision:
    """Without labels: promote only what the library explains at least as well as the configured floor."""
    promoted = coverage >= floor
    relation = "reaches" if promoted else "is below"
    return Decision(promoted, f"no labels; coverage {coverage:.3f} {relation} the floor {floor:.3f}")
