"""Every method on one target, as one JSON object: shared by the benchmarks of real data and of the examples."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.evaluation.evaluate import Bootstrap, EvaluationJob, evaluate_target
from tasks.evaluation.examiners.setting import Setting
from tasks.evaluation.methods import Scene, weights_by_method
from tasks.projection.calibration import calibrate
from tasks.projection.solve import project
from tasks.projection.variants import Variant
from tasks.prototypes.statistics import Prototype
from tests.benchmarks.domain.peers.scored import FewShot, peer_scores

PENALTY = 0.05  # of the library's spread; the product's default, not tuned here
TEMPERATURE = 0.25  # of the similarity softmax, likewise
BOOTSTRAP = Bootstrap(resamples=200, level=0.95, seed=0)
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Case:
    """One target with the library that it is composed from; with `few_shot` the peers are measured too."""

    domain: str
    seed: int
    target: str
    setting: Setting
    library: Mapping[str, Path]
    ceiling: Path
    without_siblings: bool
    few_shot: FewShot | None


def score(case: Case, prototypes: Mapping[str, Prototype], *, each_alone: bool) -> dict[str, Any]:
    """Scores of all methods; with `each_alone` also of every single reference, as methods `only:NAME`."""
    scene, names = scene_of(prototypes, case.target, tuple(case.library))
    weights = weights_of(scene, case.target, case.seed)
    alone = {f"only:{name}": case.library[name] for name in names} if each_alone else {}
    job = EvaluationJob(
        target=case.target,
        setting=case.setting,
        adapters=tuple(case.library[name] for name in names),
        weights=weights,
        whole={"ceiling": case.ceiling, **alone},
        controlled="l1",
        draws=1,
        bootstrap=BOOTSTRAP,
    )
    scored = evaluate_target(job)
    scores = dict(scored.scores)
    if case.few_shot is not None:
        rivals, weights["lorahub"] = peer_scores(case.setting, case.few_shot, job.adapters, BOOTSTRAP, seed=case.seed)
        scores |= rivals
    return {
        "domain": case.domain,
        "seed": case.seed,
        "target": case.target,
        "without_siblings": case.without_siblings,
        "primary": scored.primary,
        "library": list(names),
        "distances": np.sqrt(scene.squared_distances).tolist(),
        "weights": weights,
        "scores": {method: {name: asdict(s) for name, s in by.items()} for method, by in scores.items()},
    }


def scene_of(prototypes: Mapping[str, Prototype], target: str, library: Sequence[str]) -> tuple[Scene, tuple[str, ...]]:
    """The target among all of its library, nearest first."""
    goal = prototypes[target].prototype.astype(np.float64)
    squared = {name: float(np.square(prototypes[name].prototype - goal).sum()) for name in library}
    order = tuple(sorted(library, key=lambda name: (squared[name], name)))
    atoms = np.stack([prototypes[name].prototype.astype(np.float64) for name in order])
    scale = calibrate(atoms, np.stack([prototypes[name].within_std for name in order]))
    distances = np.array([squared[name] for name in order])
    return Scene(atoms, goal, distances, scale.centre, scale.spread), order


def weights_of(scene: Scene, target: str, seed: int) -> dict[str, tuple[float, ...]]:
    """Weights of every method that needs no label."""
    methods = weights_by_method(scene, relative_penalty=PENALTY, relative_temperature=TEMPERATURE, tolerance=_TOLERANCE)
    methods["nonnegative"] = project(
        scene.atoms,
        scene.target,
        variant=Variant.NONNEGATIVE,
        relative_penalty=PENALTY,
        spread=scene.spread,
        centre=scene.centre,
        tolerance=_TOLERANCE,
    ).weights
    count = len(scene.atoms)
    # The target is in the seed: references are in order of nearness, and one draw for all would be "the fifth nearest".
    draw = np.random.default_rng([seed, zlib.crc32(target.encode())])
    methods["random_member"] = np.eye(count)[draw.integers(count)]
    return {method: tuple(float(weight) for weight in weights) for method, weights in methods.items()}
