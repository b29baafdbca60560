"""The weights that a rule gives to many scenes, and how well they reconstruct each one."""

from dataclasses import dataclass

import numpy as np

from tasks.audit.rules import Rule, Weighing
from tasks.audit.scenes import Scenes, Stage
from tasks.projection.baselines import base_weights, nearest_weights, similarity_weights, uniform_weights
from tasks.projection.preparation import Transform
from tasks.projection.solve import project_many
from tasks.projection.variants import Variant

_VARIANTS = {Weighing.SIMPLEX: Variant.SIMPLEX, Weighing.L1: Variant.AFFINE, Weighing.REFIT: Variant.REFIT}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A stage and its scenes under one preparation, with each scene's own spread (t,)."""

    stage: Stage
    scenes: Scenes
    spreads: np.ndarray


def prepare(stage: Stage, scenes: Scenes, transform: Transform) -> Prepared:
    """Move a stage and its scenes into the prepared space; neighbourhoods stay those of raw prototypes."""
    matrix, targets = transform(stage.matrix), transform(scenes.targets)
    centre = matrix.astype(np.float64).mean(axis=0)
    moved = Stage(stage.names, matrix, centre, float(np.square(matrix - centre).sum(axis=1).mean()))
    offsets = targets[:, None].astype(np.float64) - matrix[scenes.indices]
    there = Scenes(
        targets=targets,
        half_a=transform(scenes.half_a),
        half_b=transform(scenes.half_b),
        standard_errors=scenes.standard_errors,
        indices=scenes.indices,
        squared_distances=np.square(offsets).sum(axis=2),
        hidden=scenes.hidden,
    )
    return Prepared(moved, there, there.spreads(moved))


def weigh(rule: Rule, prepared: Prepared, *, tolerance: float, reading: np.ndarray | None) -> np.ndarray:
    """Weights (t, k) of `rule` on every scene; rows that no solver could certify are NaN.

    `reading` (t, d) replaces the targets, for instance by one of their halves. `tolerance` bounds the relative duality
    gap of every solved row.
    """
    scenes = prepared.scenes
    k = scenes.indices.shape[1]
    if rule.weighing in _VARIANTS:
        return _solved(rule, prepared, scenes.targets if reading is None else reading, tolerance)
    if rule.weighing is Weighing.SIMILARITY:
        temperatures = (rule.strength or 0.0) * prepared.spreads
        rows = [
            similarity_weights(distances, temperature=temperature)
            for distances, temperature in zip(scenes.squared_distances, temperatures, strict=True)
        ]
        return np.stack(rows)
    constant = {Weighing.BASE: base_weights, Weighing.NEAREST: nearest_weights, Weighing.UNIFORM: uniform_weights}
    return np.tile(constant[rule.weighing](k), (scenes.count, 1))


def _solved(rule: Rule, prepared: Prepared, targets: np.ndarray, tolerance: float) -> np.ndarray:
    stage, scenes = prepared.stage, prepared.scenes
    # One spread is shared by a batch, so each scene's own goes into its penalty.
    own = prepared.spreads / stage.spread if stage.spread > 0 else np.ones(scenes.count)
    solved = project_many(
        stage.matrix,
        scenes.indices,
        targets,
        variant=_VARIANTS[rule.weighing],
        relative_penalty=(rule.strength or 0.0) * own,
        spread=stage.spread,
        centre=stage.centre,
        tolerance=tolerance,
        device=None,
    )
    missing = np.full(scenes.indices.shape[1], np.nan)
    return np.stack([missing if one is None else one.weights for one in solved.projections])


def residuals(weights: np.ndarray, prepared: Prepared) -> np.ndarray:
    """Lengths (t,) of target - sum_i w_i z_i for weights (t, k)."""
    atoms = prepared.stage.matrix[prepared.scenes.indices].astype(np.float64)
    built = np.einsum("tk,tkd->td", weights, atoms)
    return np.linalg.norm(prepared.scenes.targets - built, axis=1)
