"""The gain to expect of a rule, from the audit's results on tasks like this one: a small ridge with an honest interval.

A ridge regression (Hoerl and Kennard 1970) on standardised features: a table of one coefficient a feature. Its bounds
are conformal: the quantiles of the errors made on references that had no part in the fit (cross-conformal prediction,
Vovk 2015). Trials that share a reference are one witness, not several, so that whole references are left out of fits,
and it is their number that decides how far the quantile must lie: with fewer than confidence / (1 - confidence)
references no finite bound can be promised, and none is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import Ridge


@dataclass(frozen=True, slots=True)
class Evidence:
    """Audited results of one rule: features (m, f), gains (m,), and the references each had a part in."""

    features: np.ndarray
    gains: np.ndarray
    members: tuple[frozenset[str], ...]
    shares: np.ndarray  # (m,) weight of each trial in the fit: trials of one reference share its voice
    real: np.ndarray  # (m,) bool: a reference left out, not a pool

    def rows(self, mask: np.ndarray) -> "Evidence":
        """The trials that a mask (m,) selects."""
        members = tuple(one for one, kept in zip(self.members, mask, strict=True) if kept)
        return Evidence(self.features[mask], self.gains[mask], members, self.shares[mask], self.real[mask])

    @property
    def witnesses(self) -> int:
        """Number of references that had a part."""
        return len(frozenset().union(*self.members)) if self.members else 0


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
    """Expected gain of a rule on one task and its two one-sided bounds, each kept with the audit's confidence.

    `seen` is False where the task lies further out than any trial: its bounds are then infinite.
    """

    gain: float
    low: float
    high: float
    seen: bool

    @property
    def bounded(self) -> bool:
        """Whether the audit can promise anything at all."""
        return bool(np.isfinite(self.low))


@dataclass(frozen=True, slots=True)
class GainModel:
    """A fit with the errors (predicted - true) that it makes on references it has not seen: bounds in gain units."""

    fit: Fit
    over: float  # the prediction is too high by at most this, with the stated confidence
    under: float  # and too low by at most this


def fit_gains(evidence: Evidence, *, shrinkage: float) -> Fit:
    """Ridge of the gains on standardised features; `shrinkage` is the penalty per unit of the trials' shares."""
    means = np.average(evidence.features, axis=0, weights=evidence.shares)
    spread = np.average(np.square(evidence.features - means), axis=0, weights=evidence.shares)
    scales = np.sqrt(np.where(spread > 1e-18, spread, 1.0))
    standard = (evidence.features - means) / scales
    penalty = shrinkage * float(evidence.shares.sum())
    ridge = Ridge(alpha=penalty).fit(standard, evidence.gains, sample_weight=evidence.shares)
    moment = standard.T @ (standard * evidence.shares[:, None]) + penalty * np.eye(standard.shape[1])
    precision = np.linalg.inv(moment)
    reach = float(np.einsum("mf,fg,mg->m", standard, precision, standard).max())
    return Fit(means, scales, ridge.coef_, float(ridge.intercept_), precision, reach)


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
        out[asked] = predicted(fit, evidence.features[asked])
    return out


def bound(errors: np.ndarray, shares: np.ndarray, *, witnesses: int, confidence: float) -> float:
    """The conformal quantile of errors (m,) with shares (m,): infinite where `witnesses` are too few to promise one."""
    level = confidence * (witnesses + 1) / witnesses if witnesses else np.inf
    if level > 1.0 + 1e-12 or not len(errors):
        return float("inf")
    order = np.argsort(errors)
    reached = np.cumsum(shares[order]) / shares.sum()
    return float(errors[order][min(int(np.searchsorted(reached, level - 1e-12)), len(errors) - 1)])


def learn(evidence: Evidence, *, shrinkage: float, folds: int, confidence: float) -> GainModel:
    """Fit a rule's gains, and find the errors that fits make on references they have not seen.

    Raises ValueError for no trial.
    """
    errors = held_out(evidence, shrinkage=shrinkage, folds=folds) - evidence.gains
    known = np.isfinite(errors)
    witnesses = evidence.rows(known).witnesses
    over = bound(errors[known], evidence.shares[known], witnesses=witnesses, confidence=confidence)
    under = bound(-errors[known], evidence.shares[known], witnesses=witnesses, confidence=confidence)
    return GainModel(fit_gains(evidence, shrinkage=shrinkage), over, under)


def expect(model: GainModel, features: np.ndarray, *, margin: float) -> list[Expectation]:
    """What to expect at features (t, f). A task is seen up to `margin` times the farthest trial's leverage."""
    out = []
    for gain, leverage in zip(predicted(model.fit, features), leverages(model.fit, features), strict=True):
        seen = bool(np.isfinite(gain) and leverage <= margin)
        low, high = (gain - model.over, gain + model.under) if seen else (-np.inf, np.inf)
        out.append(Expectation(float(gain), float(low), float(high), seen))
    return out
