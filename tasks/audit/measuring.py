"""Which blends an audit needs scored on which reference's samples, and the gains that follow from the scores.

A need is known by its content: equal weights on equal adapters and samples are scored once, whichever rules, trials or
nights ask for it. Rules often agree, and a reference that joins the library far away changes no other weight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.audit.looking import Look
from tasks.audit.rules import BASE
from tasks.audit.scenes import Scenes, Stage
from tasks.audit.trials import Trial
from tasks.files import digest_value
from tasks.library.snapshot import Reference, Snapshot


@dataclass(frozen=True, slots=True)
class Need:
    """Weights by reference, without zeros, to be scored on the samples of reference `on`."""

    key: str
    on: str
    weights: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Needs:
    """Identities of scores in one snapshot; `version` is that of the code which scores."""

    snapshot: Snapshot
    version: str
    references: Mapping[str, Reference]

    def of(self, on: str, weights: Mapping[str, float]) -> Need:
        """The need for these weights on the samples of `on`."""
        used = tuple(sorted((name, float(weight)) for name, weight in weights.items() if weight != 0))
        adapters = [[self.references[name].adapter_digest, weight] for name, weight in used]
        key = ["audit", self.version, self.snapshot.base.digest, self.references[on].evaluation_digest, adapters]
        return Need(digest_value(key), on, used)

    def base(self, on: str) -> Need:
        """The base model alone."""
        return self.of(on, {})

    def own(self, on: str) -> Need:
        """The reference's own adapter: its ceiling."""
        return self.of(on, {on: 1.0})


def needs_of(snapshot: Snapshot, *, version: str) -> Needs:
    """Identities for a snapshot."""
    return Needs(snapshot, version, {one.name: one for one in snapshot.references})


def named_weights(stage: Stage, scenes: Scenes, weights: np.ndarray, row: int) -> dict[str, float]:
    """One scene's weights by reference, zeros left out."""
    pairs = zip(scenes.indices[row], weights[row], strict=True)
    return {stage.names[index]: float(weight) for index, weight in pairs if weight != 0}


Asked = Mapping[str, Sequence[Sequence[Need] | None]]  # rule -> trial -> members; None where no solver could certify


def asked_by(needs: Needs, trials: Sequence[Trial], stage: Stage, scenes: Scenes, look: Look) -> Asked:
    """What every rule needs scored for every trial."""
    asked: dict[str, list[list[Need] | None]] = {}
    for rule, weights in look.weights.items():
        sound = np.isfinite(weights).all(axis=1)
        named = [named_weights(stage, scenes, weights, row) if sound[row] else None for row in range(scenes.count)]
        asked[rule] = [
            None if found is None else [needs.of(member, found) for member in trial.members]
            for trial, found in zip(trials, named, strict=True)
        ]
    return asked


def transfers_of(needs: Needs, stage: Stage, scenes: Scenes, trials: Sequence[Trial], *, count: int) -> list[Need]:
    """`count` single references, from near to far, alone on each left-out reference's samples."""
    found = []
    for row, trial in enumerate(trials):
        if trial.partner is None:
            places = np.unique(np.linspace(0, scenes.indices.shape[1] - 1, count).round().astype(int))
            found += [needs.of(trial.name, {stage.names[scenes.indices[row, place]]: 1.0}) for place in places]
    return found


Scores = Mapping[str, np.ndarray]  # need's key -> values (n,) of single samples, higher is better


def gains_by_rule(asked: Asked, scores: Scores) -> dict[str, np.ndarray]:
    """Gain (m,) of every rule over the base in every trial; NaN where a score is missing."""

    def mean(need: Need) -> float:
        return float(scores[need.key].mean()) if need.key in scores else float("nan")

    def total(row: Sequence[Need] | None) -> float:
        return float("nan") if row is None else float(np.mean([mean(need) for need in row]))

    base = np.array([total(row) for row in asked[BASE.name]])
    return {rule: np.array([total(row) for row in rows]) - base for rule, rows in asked.items() if rule != BASE.name}
