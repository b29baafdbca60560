"""What is known of a task without its labels: how it lies among its neighbours, and how a rule sees it there.

Every feature is free of the prototypes' scale, so that audits of other libraries and other preparations compare.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.audit.gains import View
from tasks.audit.rules import Rule, Weighing
from tasks.audit.scenes import Scenes, Stage
from tasks.audit.weighing import Prepared, residuals, weigh
from tasks.projection.baselines import least_squares_weights

# name -> meaning; the order is the order of the columns.
MEANINGS = {
    "explained": "1 - residual of the rule's weights / distance to the library's centre (coverage)",
    "progress": "how much nearer the rule's combination comes than the library's centre / root of the library's spread",
    "remoteness": "distance to the library's centre / root of the library's spread",
    "nearness": "distance to the nearest reference / root of the library's spread",
    "dispersion": "distance of the neighbours from their own mean / root of the library's spread",
    "off_hull": "distance to the neighbours' convex hull / root of the library's spread",
    "off_span": "distance to the neighbours' affine span / root of the library's spread",
    "weight_norm": "log of the weights' l1 norm: 0 is a convex combination, above it extrapolates",
    "instability": "l1 distance of the weights from the samples' two halves / the weights' l1 norm",
    "noise": "standard error of the prototype / root of the library's spread",
    "headroom": "what the neighbours' own adapters gain over the base, weighted by the weights' size",
    "neighbour_gain": "what the rule gained on the neighbours when they were left out, weighted alike",
}
FEATURES = tuple(MEANINGS)


def view_of(features: np.ndarray, used: Sequence[str]) -> View:
    """What the gain model sees of features (t, len(FEATURES)): the columns in use, and the distances of its guard."""
    return View(features[:, [FEATURES.index(name) for name in used]], features[:, FEATURES.index("nearness")])


@dataclass(frozen=True, slots=True)
class Record:
    """What earlier nights know of single references: own adapter's gain over the base, and the rules' when left out."""

    headroom: Mapping[str, float]
    left_out: Mapping[str, Mapping[str, float]]  # rule -> reference -> gain


@dataclass(frozen=True, slots=True)
class Geometry:
    """Features of t scenes that no rule changes; all (t,)."""

    nearness: np.ndarray
    dispersion: np.ndarray
    off_hull: np.ndarray
    off_span: np.ndarray
    noise: np.ndarray


def _scale(spreads: np.ndarray) -> np.ndarray:
    return np.sqrt(np.where(spreads > 0, spreads, 1.0))


def geometry_of(prepared: Prepared, simplex: np.ndarray) -> Geometry:
    """Geometry of scenes; `simplex` (t, k) are the weights of the projection on each neighbourhood's hull."""
    scenes, scale = prepared.scenes, _scale(prepared.spreads)
    atoms = prepared.stage.matrix[scenes.indices].astype(np.float64)
    deviations = atoms - atoms.mean(axis=1, keepdims=True)
    least = np.stack([least_squares_weights(own, target) for own, target in zip(atoms, scenes.targets, strict=True)])
    return Geometry(
        nearness=np.sqrt(scenes.squared_distances[:, 0]) / scale,
        dispersion=np.sqrt(np.square(deviations).sum(axis=2).mean(axis=1)) / scale,
        off_hull=residuals(simplex, prepared) / scale,
        off_span=residuals(least, prepared) / scale,
        noise=scenes.standard_errors / scale,
    )


def features_of(
    rule: Rule,
    weights: np.ndarray,
    prepared: Prepared,
    geometry: Geometry,
    record: Record,
    *,
    tolerance: float,
) -> np.ndarray:
    """Features (t, len(FEATURES)) of `rule` with weights (t, k); rows that are NaN there are NaN here."""
    scenes, stage = prepared.scenes, prepared.stage
    distance = np.linalg.norm(scenes.targets - scenes.centres(stage), axis=1)
    norm = np.abs(weights).sum(axis=1)
    own = record.left_out.get(rule.name, {})
    residual, scale = residuals(weights, prepared), _scale(prepared.spreads)
    columns = {
        "explained": 1.0 - residual / np.where(distance > 0, distance, 1.0),
        "progress": (distance - residual) / scale,
        "remoteness": distance / scale,
        "nearness": geometry.nearness,
        "dispersion": geometry.dispersion,
        "off_hull": geometry.off_hull,
        "off_span": geometry.off_span,
        "weight_norm": np.log(np.where(norm > 0, norm, 1.0)),
        "instability": _instability(rule, norm, prepared, tolerance),
        "noise": geometry.noise,
        "headroom": _recalled(weights, scenes, stage, record.headroom),
        "neighbour_gain": _recalled(weights, scenes, stage, own),
    }
    found = np.stack([columns[name] for name in FEATURES], axis=1)
    found[~np.isfinite(weights).all(axis=1)] = np.nan
    return found


def _instability(rule: Rule, norm: np.ndarray, prepared: Prepared, tolerance: float) -> np.ndarray:
    if rule.weighing in (Weighing.BASE, Weighing.UNIFORM, Weighing.NEAREST, Weighing.SIMILARITY):
        return np.zeros(len(norm))
    first, second = (
        weigh(rule, prepared, tolerance=tolerance, reading=half)
        for half in (prepared.scenes.half_a, prepared.scenes.half_b)
    )
    change = np.abs(first - second).sum(axis=1) / np.where(norm > 0, norm, 1.0)
    # A half that cannot be solved says that the weights rest on little: the largest change of convex weights.
    return np.where(np.isfinite(change), change, 2.0)


def _recalled(weights: np.ndarray, scenes: Scenes, stage: Stage, known: Mapping[str, float]) -> np.ndarray:
    """Mean (t,) of what is known of the neighbours, by the size of their weights; the mean of all where none is."""
    values = np.array([known.get(name, np.nan) for name in stage.names])
    usual = float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
    around = values[scenes.indices]
    shares = np.where(np.isfinite(around), np.abs(weights), 0.0)
    total = shares.sum(axis=1)
    means = (shares * np.nan_to_num(around)).sum(axis=1) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, means, usual)
