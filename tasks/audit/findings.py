"""What an audit says about the library: does likeness mean transfer, what can be rebuilt, what does harm. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from scipy.stats import t as student

LEAST = 3  # left-out references below which nothing can be said of a library


@dataclass(frozen=True, slots=True)
class Pair:
    """One reference's adapter alone on another's samples; `transfer` is its gain over the base."""

    source: str
    on: str
    distance: float  # of the prototypes / root of the library's spread
    cosine: float  # of the deltas
    transfer: float
    ceiling: float  # gain of `on`'s own adapter


@dataclass(frozen=True, slots=True)
class Correlation:
    """Spearman's rank correlation with a bootstrap interval over left-out references; NaN if undefined."""

    value: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True, slots=True)
class Share:
    """Share of its own adapter's gain that the audited choice recovers for a reference, with a bootstrap interval."""

    reference: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a library's references serve each other: mean gain of the audited choice on them, with its lower bound.

    `served` of `audited` left-out references got another rule than the base. `low` is minus infinity where fewer than
    LEAST were audited.
    """

    transfers: bool
    gain: float
    low: float
    served: int
    audited: int
    says: str


def verdict(gains: Sequence[float | None], *, confidence: float) -> Verdict:
    """Judge by what each left-out reference gained by the choice of an audit without it; None where that was the base.

    The library transfers when the mean, the base counting as no gain, is above zero with `confidence` (Student's
    one-sided bound over references): one lucky choice among many references is no evidence.
    """
    values = np.array([0.0 if gain is None else gain for gain in gains])
    served, count = sum(gain is not None for gain in gains), len(gains)
    if count < LEAST:
        says = f"{count} references are audited: a verdict needs at least {LEAST} with labelled evaluation sets"
        return Verdict(False, float(values.mean()) if count else 0.0, float("-inf"), served, count, says)
    mean = float(values.mean())
    low = mean - float(student.ppf(confidence, count - 1)) * float(values.std(ddof=1)) / count**0.5
    found = (
        f"{served} of {count} left-out references got a rule other than the base; the mean gain, the others counted as "
        f"zero, is {mean:+.4f} (above {low:+.4f} with confidence {confidence:.0%})"
    )
    if low > 0:
        return Verdict(True, mean, low, served, count, f"this library transfers: {found}")
    says = (
        f"this library does not transfer: {found}; single references do not serve each other, "
        "and only the gains on pools can speak for targets that combine them"
    )
    return Verdict(False, mean, low, served, count, says)


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    # spearmanr's statistic without its p-value, which takes most of its time: this is asked for every resample.
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def clusters_drawn(labels: Sequence[str], resamples: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Row numbers of as many clusters as there are, drawn with replacement; rows of one label come together."""
    _, cluster, counts = np.unique(np.array(labels, dtype=str), return_inverse=True, return_counts=True)
    order, starts = np.argsort(cluster, kind="stable"), np.cumsum(counts) - counts
    for _ in range(resamples if len(counts) else 0):
        drawn = generator.integers(len(counts), size=len(counts))
        sizes = counts[drawn]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        yield order[np.repeat(starts[drawn], sizes) + within]


def correlation(
    pairs: Sequence[Pair], x: Sequence[float], y: Sequence[float], *, resamples: int, level: float, seed: int
) -> Correlation:
    """Correlation of `x` and `y`, one value a pair. Pairs on one reference are drawn together."""
    first, second = np.asarray(x), np.asarray(y)
    drawn = [
        _spearman(first[taken], second[taken])
        for taken in clusters_drawn([pair.on for pair in pairs], resamples, np.random.default_rng(seed))
    ]
    finite = np.array([value for value in drawn if np.isfinite(value)])
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(finite, [tail, 1.0 - tail]) if len(finite) else (float("nan"), float("nan"))
    return Correlation(_spearman(first, second), float(low), float(high), len(pairs))


def recovered_share(
    reference: str,
    chosen: np.ndarray,
    own: np.ndarray,
    base: np.ndarray,
    *,
    resamples: int,
    level: float,
    seed: int,
) -> Share | None:
    """(chosen - base) / (own - base) of sample values (n,), resampled together; None without any own gain."""
    headroom = float((own - base).mean())
    if headroom <= 0:
        return None
    drawn = np.random.default_rng(seed).integers(len(base), size=(resamples, len(base)))
    above, below = ((values - base)[drawn].sum(axis=1) for values in (chosen, own))
    ratios = above[below > 0] / below[below > 0]
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(ratios, [tail, 1.0 - tail])
    return Share(reference, float((chosen - base).mean()) / headroom, float(low), float(high))


def near_but_opposed(pairs: Sequence[Pair], *, within: float) -> list[Pair]:
    """Siblings in the wrong: pairs nearer than `within` whose adapters harm each other's task."""
    return sorted((p for p in pairs if p.distance <= within and p.transfer < 0), key=lambda p: p.transfer)


def near_duplicates(pairs: Sequence[Pair], *, within: float, share: float) -> list[Pair]:
    """Pairs nearer than `within` where the one adapter gives at least `share` of what the other's own gives."""
    return [p for p in pairs if p.distance <= within and p.ceiling > 0 and p.transfer >= share * p.ceiling]


def harmful(pairs: Sequence[Pair], *, least: int) -> dict[str, float]:
    """References that harmed every one of at least `least` others, worst mean first."""
    by_source: dict[str, list[float]] = {}
    for pair in pairs:
        by_source.setdefault(pair.source, []).append(pair.transfer)
    bad = {name: float(np.mean(v)) for name, v in by_source.items() if len(v) >= least and max(v) < 0}
    return dict(sorted(bad.items(), key=lambda item: (item[1], item[0])))


def greedy_cover(pairs: Sequence[Pair], own: Mapping[str, float], *, most: int) -> list[tuple[str, float]]:
    """References that serve most others alone: each adds most gain to those before it; with the share served so far.

    Greedy for a submodular sum: at least 1 - 1/e of the best (Nemhauser, Wolsey and Fisher 1978). Pairs that were not
    scored count as no gain. `own` is each reference's own gain, which it gives itself.
    """
    gains: dict[str, dict[str, float]] = {name: {name: max(value, 0.0)} for name, value in own.items()}
    for pair in pairs:
        gains.setdefault(pair.source, {})[pair.on] = max(pair.transfer, 0.0)
    served, total = dict.fromkeys(own, 0.0), sum(max(value, 0.0) for value in own.values())
    chosen: list[tuple[str, float]] = []
    while total > 0 and len(chosen) < most and len(chosen) < len(gains):
        added = {
            name: sum(max(gain - served.get(on, 0.0), 0.0) for on, gain in by.items())
            for name, by in gains.items()
            if name not in dict(chosen)
        }
        best = min(added, key=lambda name: (-added[name], name))
        if added[best] <= 0:
            break
        for on, gain in gains[best].items():
            served[on] = max(served.get(on, 0.0), gain)
        chosen.append((best, sum(served.values()) / total))
    return chosen
