"""How the rules stand against each other on the audited tasks: every rule was scored on the same ones, so in pairs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from tasks.audit.gains import LEAST, Evidence, folds_of


@dataclass(frozen=True, slots=True)
class Standing:
    """Each rule's mean gain over the audited tasks, and the rules that surely gain more than it there."""

    gains: Mapping[str, float]
    better: Mapping[str, frozenset[str]]

    def beaten(self, rule: str, rivals: frozenset[str]) -> bool:
        """Whether one of these rivals is surely better. The rule with the largest mean gain never is."""
        return bool(self.better[rule] & rivals)


def standing_of(evidence: Mapping[str, Evidence], *, folds: int, confidence: float) -> Standing:
    """Compare every two rules by the mean of their paired differences; all evidence lists the same trials.

    Surely better is Student's one-sided bound with the grouped jackknife's standard error (Tukey 1958): trials that
    share a reference are one witness, so whole references are left out. Few groups say nothing about each other.
    """
    known = {name: one for name, one in evidence.items() if len(one.gains)}
    if not known:
        return Standing({}, {})
    names, first = list(known), next(iter(known.values()))
    gains = np.stack([known[name].gains for name in names])
    means = np.average(gains, axis=1, weights=first.shares)
    without = _means_without(gains, first, folds=folds)
    surely = np.zeros((len(names), len(names)), dtype=bool)
    if len(without) >= LEAST:
        errors = _errors_of_differences(without)
        lead = means[None, :] - means[:, None]  # of the column's rule over the row's
        surely = lead > float(student.ppf(confidence, len(without) - 1)) * errors
        surely &= lead > 0
    better = {name: frozenset(np.array(names)[row].tolist()) for name, row in zip(names, surely, strict=True)}
    return Standing(dict(zip(names, means.tolist(), strict=True)), better)


def _means_without(gains: np.ndarray, shared: Evidence, *, folds: int) -> np.ndarray:
    """Mean gains (groups, rules) without the trials of each group of references."""
    groups = folds_of(shared.members, most=folds)
    kept = [np.array([not members & group for members in shared.members]) for group in groups]
    means = [np.average(gains[:, rows], axis=1, weights=shared.shares[rows]) for rows in kept if rows.any()]
    return np.array(means).reshape(-1, len(gains))


def _errors_of_differences(without: np.ndarray) -> np.ndarray:
    """The jackknife's standard errors (rules, rules) of the differences between mean gains (groups, rules)."""
    deviations = without - without.mean(axis=0)
    differences = deviations[:, :, None] - deviations[:, None, :]
    groups = len(without)
    errors: np.ndarray = np.sqrt((groups - 1) / groups * np.square(differences).sum(axis=0))
    return errors
