"""How the rules stand against each other on the audited tasks: every rule was scored on the same ones, so in pairs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from tasks.audit.gains import LEAST, Evidence, jackknife_variance, without_each_group


@dataclass(frozen=True, slots=True)
class Standing:
    """Each rule's mean gain over the audited tasks, and by rule and rival how likely the rival's lead is chance.

    `doubts` are one-sided p-values: 1 where the rival does not lead.
    """

    gains: Mapping[str, float]
    doubts: Mapping[str, Mapping[str, float]]

    def beaten(self, rule: str, rivals: frozenset[str], *, confidence: float) -> bool:
        """Whether one of these rivals surely gains more. The rule with the largest mean gain is never beaten.

        Each of n rivals has a chance to lead by chance, and is asked for an n-th of the doubt (Bonferroni).
        """
        others = rivals - {rule}
        return any(self.doubts[rule][other] * len(others) < 1.0 - confidence for other in others)


def standing_of(evidence: Mapping[str, Evidence], *, folds: int) -> Standing:
    """Compare every two rules by the mean of their paired differences; all evidence lists the same trials.

    The p-values are Student's with the grouped jackknife's standard error (Tukey 1958): trials that share a reference
    are one witness, so whole references are left out. Few groups say nothing about any two rules.
    """
    known = {name: one for name, one in evidence.items() if len(one.gains)}
    if not known:
        return Standing({}, {})
    names, first = list(known), next(iter(known.values()))
    gains = np.stack([known[name].gains for name in names])
    means = np.average(gains, axis=1, weights=first.shares)
    doubts = _doubts(means, _means_without(gains, first, folds=folds))
    return Standing(
        gains=dict(zip(names, means.tolist(), strict=True)),
        doubts={name: dict(zip(names, row.tolist(), strict=True)) for name, row in zip(names, doubts, strict=True)},
    )


def _means_without(gains: np.ndarray, shared: Evidence, *, folds: int) -> np.ndarray:
    """Mean gains (groups, rules) without the trials of each group of references."""
    kept = without_each_group(shared.members, most=folds)
    means = [np.average(gains[:, rows], axis=1, weights=shared.shares[rows]) for rows in kept]
    return np.array(means).reshape(-1, len(gains))


def _doubts(means: np.ndarray, without: np.ndarray) -> np.ndarray:
    """One-sided p-values (rules, rules) of the column over the row, from mean gains (rules,) and (groups, rules)."""
    groups, leads = len(without), means[None, :] - means[:, None]
    if groups < LEAST:
        return np.ones_like(leads)
    errors = np.sqrt(jackknife_variance(without[:, None, :] - without[:, :, None]))
    certain = np.where(leads > 0, np.inf, 0.0)
    ratios = np.divide(leads, errors, out=certain, where=errors > 0)
    return np.where(leads > 0, student.sf(ratios, groups - 1), 1.0)
