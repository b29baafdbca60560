"""From trials and their measured gains to the evidence that a gain model is fitted on."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tasks.audit.features import view_of
from tasks.audit.gains import Evidence
from tasks.audit.trials import Kind, Trial


def shares_of(trials: Sequence[Trial]) -> np.ndarray:
    """Weights (m,): the trials of one kind on one reference share one voice between them."""
    counts = Counter((trial.kind, trial.name) for trial in trials)
    return np.array([1.0 / counts[trial.kind, trial.name] for trial in trials])


def evidence_of(
    trials: Sequence[Trial],
    features: Mapping[str, np.ndarray],
    gains: Mapping[str, np.ndarray],
    ceilings: np.ndarray,
    *,
    used: Sequence[str],
) -> dict[str, Evidence]:
    """Evidence by rule from features (m, len(FEATURES)) and gains (m,), and what the members' own adapters gain (m,).

    A trial that some rule could not solve or that was not evaluated is left out of every rule's evidence, so that all
    rules are compared on the same trials.
    """
    views = {rule: view_of(found, used) for rule, found in features.items()}
    sound = np.isfinite(ceilings)
    for rule, view in views.items():
        sound &= np.isfinite(view.features).all(axis=1) & np.isfinite(view.distances) & np.isfinite(gains[rule])
    members = tuple(frozenset(trial.members) for trial in trials)
    real = np.array([trial.kind is Kind.LEFT_OUT for trial in trials])
    return {
        rule: Evidence(view, gains[rule], members, ceilings, shares_of(trials), real).rows(sound)
        for rule, view in views.items()
    }
