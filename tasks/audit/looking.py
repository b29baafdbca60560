"""Every rule's weights on a set of scenes with the features they have there: one look at trials and targets alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.audit.features import Record, features_of, geometry_of, view_of
from tasks.audit.gains import View
from tasks.audit.rules import BASE, Rule, Weighing
from tasks.audit.scenes import Scenes, Stage
from tasks.audit.weighing import prepare, weigh
from tasks.projection.preparation import Preparation, Transform


@dataclass(frozen=True, slots=True)
class Look:
    """weights (t, k) and features (t, len(FEATURES)) by rule; the base has weights, all zero, and no features."""

    weights: Mapping[str, np.ndarray]
    features: Mapping[str, np.ndarray]

    def views(self, used: Sequence[str]) -> dict[str, View]:
        """What a gain model on these features sees of the tasks, by rule."""
        return {rule: view_of(found, used) for rule, found in self.features.items()}


def look_at(
    rules: Sequence[Rule],
    stage: Stage,
    scenes: Scenes,
    transforms: Mapping[Preparation, Transform],
    record: Record,
    *,
    tolerance: float,
) -> Look:
    """Weigh all scenes by all rules; `transforms` holds every preparation that a rule has."""
    weights: dict[str, np.ndarray] = {}
    features: dict[str, np.ndarray] = {}
    for preparation, transform in transforms.items():
        own = [rule for rule in rules if rule.preparation is preparation]
        prepared = prepare(stage, scenes, transform)
        hull = weigh(Rule(Weighing.SIMPLEX, None, preparation), prepared, tolerance=tolerance, reading=None)
        geometry = geometry_of(prepared, hull)
        for rule in own:
            found = weigh(rule, prepared, tolerance=tolerance, reading=None)
            weights[rule.name] = found
            if rule != BASE:
                features[rule.name] = features_of(rule, found, prepared, geometry, record, tolerance=tolerance)
    return Look(weights, features)
