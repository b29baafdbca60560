"""Every method that a composition is compared with, as weights on one neighbourhood. There is no other code path."""

from dataclasses import dataclass

import numpy as np

from tasks.projection.baselines import (
    base_weights,
    least_squares_weights,
    nearest_weights,
    similarity_weights,
    uniform_weights,
)
from tasks.projection.solve import project
from tasks.projection.variants import Variant


@dataclass(frozen=True, slots=True)
class Scene:
    """A target among its neighbours: atoms (k, d), target (d,), squared distances (k,), and the library's scale."""

    atoms: np.ndarray
    target: np.ndarray
    squared_distances: np.ndarray
    centre: np.ndarray
    spread: float


def weights_by_method(
    scene: Scene, *, relative_penalty: float, relative_temperature: float, tolerance: float
) -> dict[str, np.ndarray]:
    """Weights (k,) of the label-free methods by name; `l1` is always the paper's Eq. 5 at this penalty.

    Penalty and temperature are fractions of the library's spread. Raises NotCertified.
    """

    def solved(variant: Variant) -> np.ndarray:
        projection = project(
            scene.atoms,
            scene.target,
            variant=variant,
            relative_penalty=relative_penalty,
            spread=scene.spread,
            centre=scene.centre,
            tolerance=tolerance,
        )
        return projection.weights

    count = len(scene.atoms)
    temperature = relative_temperature * scene.spread
    return {
        "base": base_weights(count),
        "nearest": nearest_weights(count),
        "uniform": uniform_weights(count),
        "similarity": similarity_weights(scene.squared_distances, temperature=temperature),
        "least_squares": least_squares_weights(scene.atoms, scene.target),
        "simplex": solved(Variant.SIMPLEX),
        "l1": solved(Variant.AFFINE),
    }
