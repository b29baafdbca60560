"""The gain to expect of a rule, from the audit's results on tasks like this one: a small ridge with honest intervals.

A ridge regression (Hoerl and Kennard 1970) on standardised features: a table of one coefficient a feature. Two bounds
answer two questions. `low` bounds the gain that tasks like this one have on average; it decides. A straight line may be
wrong in one place for good, so the prediction is corrected by the mean error, on references not seen in the fit, of the
trials near the task; the bound is Student's, with the standard errors of the correction and of the grouped jackknife
(Tukey 1958). `worst` bounds what this one task may gain. It is conformal:
a quantile of the errors on references that had no part in the fit (cross-conformal prediction, Vovk 2015), and it is
infinite for fewer than confidence / (1 - confidence) references. Trials that share a reference are one witness, not
several, so whole references are left out of fits, and it is their number that counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

NEAR = 0.5  # standard deviations of a feature within which trials speak for a task's own error
LEAST = 4  # groups of references below which a jackknife says nothing


@dataclass(frozen=True, slots=True)
class View:
    """How t tasks look to one rule: the gain model's features (t, f), and how far their nearest references are (t,)."""

    features: np.ndarray
    distances: np.ndarray

    def rows(self, rows: np.ndarray | Sequence[int]) -> "View":
        """The tasks that a mask (t,) or a list of rows selects."""
        return View(self.features[rows], self.distances[rows])


@dataclass(frozen=True, slots=True)
class Evidence:
    """Audited results of one rule: how its trials (m) look, gains (m,), and the references each had a part in."""

    view: View
    gains: np.ndarray
    members: tuple[frozenset[str], ...]
    ceilings: np.ndarray  # (m,) what the members' own adapters gain there
    shares: np.ndarray  # (m,) weight of each trial in the fit: trials of one reference share its voice
    real: np.ndarray  # (m,) bool: a reference left out, not a pool

    def rows(self, mask: np.ndarray) -> "Evidence":
        """The trials that a mask (m,) selects."""
        members = tuple(one for one, kept in zip(self.members, mask, strict=True) if kept)
        return Evidence(
            self.view.rows(mask), self.gains[mask], members, self.ceilings[mask], self.shares[mask], self.real[mask]
        )

    @property
    def witnesses(self) -> int:
        """Number of references that had a part."""
        return len(frozenset().union(*self.members)) if self.members else 0


def headroom(evidence: Evidence, *, confidence: float) -> float:
    """What the left-out references' own adapters gain on average; 0 where that is not sure to be above nothing.

    Sure is Student's one-sided bound of the mean. Gains are small or large against this: metrics differ in their units.
    """
    own = evidence.ceilings[evidence.real]
    if len(own) < 2:
        return 0.0
    error = float(own.std(ddof=1)) / np.sqrt(len(own))
    mean = float(own.mean())
    return mean if mean - float(student.ppf(confidence, len(own) - 1)) * error > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Fit:
    """gain = intercept + coefficients . (x - means) / scales, with the leverage that marks the edge of experience."""

    means: np.ndarray  # (f,)
    scales: np.ndarray  # (f,)
    coefficients: np.ndarray  # (f,)
    intercept: float
    precision: np.ndarray  # (f, f): x . precision . x is the leverage of a standardised x
    reach: float  # the largest leverage among the trials


@dataclass(frozen=True, slots=True)
class Expectation:
    """Expected gain of a rule on one task, its one-sided bounds, and the gain that this one task surpasses.

    `low` and `high` bound the expectation, `worst` the task's own gain, each with the audit's confidence. `seen` is
    False where the task looks worse than any trial did, or lies further from all references: its bounds are then
    infinite.
    `near` counts the trials that resemble the task, each by how much.
    """

    gain: float
    low: float
    high: float
    worst: float
    seen: bool
    near: float

    @property
    def bounded(self) -> bool:
        """Whether the audit can promise anything at all."""
        return bool(np.isfinite(self.low))


@dataclass(frozen=True, slots=True)
class GainModel:
    """A fit on all references, fits that each leave a group of them out, and the error on references not seen."""

    fit: Fit
    lowest: np.ndarray  # (f,) smallest feature of any trial
    highest: np.ndarray  # (f,)
    farthest: float  # the largest distance of a trial from its nearest reference
    without: tuple[Fit, ...]
    positions: np.ndarray  # (m, f) standardised features of the trials
    errors: np.ndarray  # (m,) predicted - true, by fits that had not seen the trial's references
    shares: np.ndarray  # (m,)
    over: float  # a prediction is too high by at most this, with the confidence asked for
    confidence: float


def fit_gains(evidence: Evidence, *, shrinkage: float) -> Fit:
    """Ridge of the gains on standardised features; `shrinkage` is the penalty per unit of the trials' shares."""
    features = evidence.view.features
    means = np.average(features, axis=0, weights=evidence.shares)
    spread = np.average(np.square(features - means), axis=0, weights=evidence.shares)
    scales = np.sqrt(np.where(spread > 1e-18, spread, 1.0))
    standard = (features - means) / scales
    penalty = shrinkage * float(evidence.shares.sum())
    weighted = standard.T * evidence.shares
    precision = np.linalg.inv(weighted @ standard + penalty * np.eye(standard.shape[1]))
    intercept = float(np.average(evidence.gains, weights=evidence.shares))
    # The normal equations, since the leverage needs their inverse anyway: a library's call costs 13 times as much, and
    # an audit judged without each of its references makes tens of thousands of fits.
    coefficients = precision @ (weighted @ (evidence.gains - intercept))
    reach = float(np.einsum("mf,fg,mg->m", standard, precision, standard).max())
    return Fit(means, scales, coefficients, intercept, precision, reach)


def predicted(fit: Fit, features: np.ndarray) -> np.ndarray:
    """Expected gains (t,) at features (t, f)."""
    return fit.intercept + ((features - fit.means) / fit.scales) @ fit.coefficients


def leverages(fit: Fit, features: np.ndarray) -> np.ndarray:
    """How far out features (t, f) lie, as a share (t,) of the farthest trial: above 1 nothing like it was audited."""
    standard = (features - fit.means) / fit.scales
    values = np.einsum("tf,fg,tg->t", standard, fit.precision, standard)
    return values / fit.reach if fit.reach > 0 else np.where(values > 0, np.inf, 0.0)


def folds_of(members: Sequence[frozenset[str]], *, most: int) -> list[frozenset[str]]:
    """At most `most` groups of references, in order of name, each to be judged without its own results."""
    names = sorted(frozenset().union(*members)) if members else []
    return [frozenset(names[start::most]) for start in range(min(most, len(names)))]


def held_out(evidence: Evidence, *, shrinkage: float, folds: int) -> np.ndarray:
    """Predictions (m,) for trials by fits that saw none of their members; NaN where nothing else is left."""
    home = {name: fold for fold in folds_of(evidence.members, most=folds) for name in fold}
    unseen = [frozenset[str]().union(*(home[name] for name in members)) for members in evidence.members]
    out = np.full(len(evidence.gains), np.nan)
    for names in set(unseen):
        outside = np.array([not members & names for members in evidence.members])
        if not outside.any():
            continue
        fit = fit_gains(evidence.rows(outside), shrinkage=shrinkage)
        asked = np.array([one == names for one in unseen])
        out[asked] = predicted(fit, evidence.view.features[asked])
    return out


def bound(errors: np.ndarray, shares: np.ndarray, *, witnesses: int, confidence: float) -> float:
    """The conformal quantile of errors (m,) with shares (m,): infinite where `witnesses` are too few to promise one."""
    level = confidence * (witnesses + 1) / witnesses if witnesses else np.inf
    if level > 1.0 + 1e-12 or not len(errors):
        return float("inf")
    order = np.argsort(errors)
    reached = np.cumsum(shares[order]) / shares.sum()
    return float(errors[order][min(int(np.searchsorted(reached, level - 1e-12)), len(errors) - 1)])


def without_each_group(members: Sequence[frozenset[str]], *, most: int) -> list[np.ndarray]:
    """For each group of references, the trials (m,) bool that none of it has a part in; none where nothing is left."""
    kept = [np.array([not one & group for one in members]) for group in folds_of(members, most=most)]
    return [rows for rows in kept if rows.any()]


def jackknife_variance(without: np.ndarray) -> np.ndarray:
    """Variance of an estimate, from estimates (groups, ...) that each lack a group (Tukey 1958)."""
    groups = len(without)
    variance: np.ndarray = (groups - 1) / groups * np.square(without - without.mean(axis=0)).sum(axis=0)
    return variance


def learn(evidence: Evidence, *, shrinkage: float, folds: int, confidence: float) -> GainModel:
    """Fit a rule's gains, and find how far fits without some references differ and err; at least one trial."""
    errors = held_out(evidence, shrinkage=shrinkage, folds=folds) - evidence.gains
    known = np.isfinite(errors)
    witnesses = evidence.rows(known).witnesses
    over = bound(errors[known], evidence.shares[known], witnesses=witnesses, confidence=confidence)
    kept = without_each_group(evidence.members, most=folds)
    without = tuple(fit_gains(evidence.rows(rows), shrinkage=shrinkage) for rows in kept)
    fit = fit_gains(evidence, shrinkage=shrinkage)
    positions = (evidence.view.features[known] - fit.means) / fit.scales
    return GainModel(
        fit=fit,
        lowest=evidence.view.features.min(axis=0),
        highest=evidence.view.features.max(axis=0),
        farthest=float(evidence.view.distances.max()),
        without=without,
        positions=positions,
        errors=errors[known],
        shares=evidence.shares[known],
        over=over,
        confidence=confidence,
    )


def _nearness(model: GainModel, features: np.ndarray) -> np.ndarray:
    """How much each trial resembles each task (t, m): 1 is alike, times the trial's share."""
    standard = (features - model.fit.means) / model.fit.scales
    squares = np.square(standard[:, None] - model.positions[None]).sum(axis=2)
    return model.shares * np.exp(-0.5 * squares / NEAR**2)


def _local_errors(model: GainModel, nearness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean error (t,) of the trials near each task, drawn to zero where there are few, and its variance (t,)."""
    total = nearness.sum(axis=1)
    means = nearness @ model.errors / (total + 1.0)  # as if one more trial had been predicted without error
    spread = (nearness * np.square(model.errors - means[:, None])).sum(axis=1)
    return means, spread / np.square(np.maximum(total, 1.0))


def _jackknife(model: GainModel, features: np.ndarray) -> np.ndarray:
    """Variance (t,) of the predictions by the grouped jackknife."""
    if len(model.without) < LEAST:
        return np.full(len(features), np.inf)
    return jackknife_variance(np.stack([predicted(fit, features) for fit in model.without]))


def within(model: GainModel, view: View, *, margin: float) -> np.ndarray:
    """Which of t tasks count as seen (t,): up to `margin` times the farthest trial, in leverage and squared distance.

    The distance is no feature of the fit. A library whose references have siblings shows how gains go with the other
    features, and that is no evidence for a target that has none; as a feature it costs the fit more than it tells.
    """
    near = np.square(view.distances) <= margin * model.farthest**2
    return near & (leverages(model.fit, view.features) <= margin)


def held_back(model: GainModel, features: np.ndarray) -> np.ndarray:
    """Features (t, f) that promise more than any trial's did, back at the best trial's; the others as they are."""
    slopes = model.fit.coefficients
    from_above = np.where(slopes > 0, np.minimum(features, model.highest), features)
    return np.where(slopes < 0, np.maximum(from_above, model.lowest), from_above)


def expect(model: GainModel, view: View, *, margin: float) -> list[Expectation]:
    """What to expect of t tasks.

    A task that looks better than any trial is sure of what the best-looking trials show, and of no more: bounds from
    below are those of its features held back, while the expectation follows the line beyond them.
    """
    sure = View(held_back(model, view.features), view.distances)
    off, variance = _local_errors(model, _nearness(model, sure.features))
    least = predicted(model.fit, sure.features) - off
    gains = predicted(model.fit, view.features) - off
    quantile = float(student.ppf(model.confidence, max(len(model.without) - 1, 1)))
    widths = quantile * np.sqrt(_jackknife(model, sure.features) + variance)
    near = _nearness(model, view.features).sum(axis=1)
    seen = np.isfinite(gains) & within(model, sure, margin=margin)
    lows, highs = np.where(seen, least - widths, -np.inf), np.where(seen, gains + widths, np.inf)
    worsts = np.where(seen, least - model.over, -np.inf)
    columns = (gains.tolist(), lows.tolist(), highs.tolist(), worsts.tolist(), seen.tolist(), near.tolist())
    return [Expectation(*row) for row in zip(*columns, strict=True)]
