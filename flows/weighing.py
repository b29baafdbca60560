"""One target's weights by the project file's settings: the l1 problem, or a formula."""

import numpy as np

from flows.settings import ProjectionSettings, RuleName
from tasks.projection.baselines import nearest_weights, similarity_weights, uniform_weights
from tasks.projection.calibration import Calibration
from tasks.projection.given import given_projection
from tasks.projection.projection import Projection
from tasks.projection.solve import project
from tasks.projection.variants import Variant


def _formula(how: ProjectionSettings, squared_distances: np.ndarray, spread: float) -> np.ndarray:
    if how.rule is RuleName.SIMILARITY:
        return similarity_weights(squared_distances, temperature=how.temperature * spread)
    constant = {RuleName.UNIFORM: uniform_weights, RuleName.NEAREST: nearest_weights}
    return constant[how.rule](len(squared_distances))


def by_formula(how: ProjectionSettings, atoms: np.ndarray, target: np.ndarray, calibration: Calibration) -> Projection:
    """Weights that `how.rule` gives by formula to prepared atoms (k, d), nearest first, for a prepared target (d,)."""
    squared = np.square(atoms.astype(np.float64) - target).sum(axis=1)
    weights = _formula(how, squared, calibration.spread)
    return given_projection(weights, atoms, target, centre=calibration.centre)


def weigh_one(how: ProjectionSettings, atoms: np.ndarray, target: np.ndarray, calibration: Calibration) -> Projection:
    """The same for any rule but `audited`, which is no rule of its own. Raises NotCertified."""
    if how.rule is not RuleName.PROJECTION:
        return by_formula(how, atoms, target, calibration)
    return project(
        atoms,
        target,
        variant=Variant(how.variant),
        relative_penalty=how.penalty,
        spread=calibration.spread,
        centre=calibration.centre,
        tolerance=how.tolerance,
    )
