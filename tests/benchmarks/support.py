"""Which preparation and which rule find the references a target is made of: `python -m tests.benchmarks.support`.

Synthetic truth: 200 references of 10 families in 256 dimensions (a family's centre, 16-dimensional structure within it,
and a part of its own), a target mixed from 4 references of one family (one weight negative in every third).
All prototypes are known only through samples (64 of the target, 256 of each reference) whose deviation differs from
coordinate to coordinate, with and without three massive coordinates (means 60, -40, 100, noisy). 32 neighbours are
retrieved under each preparation; in the third world the four come from any family and the whole library is used.

Reported for every preparation and rule: F1 of the support, references used, distance of the combination to the target's
true mixture relative to the nearest reference's (both in units of the within-task deviation), agreement of the supports
over split halves, and how many of the four are among the neighbours at all. `--json` prints one object a line.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from tasks.projection.baselines import similarity_weights, uniform_weights
from tasks.projection.calibration import Calibration, calibrate
from tasks.projection.lockstep import lockstep_weights
from tasks.projection.moments import Moments, gather_moments, gather_moments_about
from tasks.projection.neighbours import nearest
from tasks.projection.path import largest_penalties, paths
from tasks.projection.penalties import by_bic, by_split_half, penalty_grid, support_agreement
from tasks.projection.preparation import Preparation, Transform, fit_transform, within_covariance_of
from tasks.projection.solve import solve_moments
from tasks.projection.variants import Variant
from tests.benchmarks.timing import arguments

REFERENCES, FAMILIES, D, TRUE, NEIGHBOURS = 200, 10, 256, 4, 32
TARGET_SAMPLES, REFERENCE_SAMPLES = 64, 256


@dataclass(frozen=True)
class Row:
    """One line of the table: means over all targets."""

    world: str
    preparation: str
    rule: str
    f1: float
    used: float
    error: float
    agreement: float
    recall: float


@dataclass(frozen=True)
class World:
    """Sampled prototypes (n, D) and targets (t, D) with their halves; the truth: weights (t, n) and mixtures (t, D)."""

    library: np.ndarray
    library_halves: tuple[np.ndarray, np.ndarray]
    targets: np.ndarray
    target_halves: tuple[np.ndarray, np.ndarray]
    weights: np.ndarray
    mixtures: np.ndarray
    deviation: np.ndarray


def make_world(*, massive: bool, scattered: bool, targets: int, seed: int) -> World:
    rng = np.random.default_rng(seed)
    home = np.repeat(np.arange(FAMILIES), REFERENCES // FAMILIES)
    structure = rng.normal(size=(FAMILIES, 16, D)) / 4.0
    truth = rng.normal(size=(FAMILIES, D))[home]
    truth += np.einsum("ns,nsd->nd", 0.7 * rng.normal(size=(REFERENCES, 16)), structure[home])
    truth += 0.5 * rng.normal(size=truth.shape)
    deviation = rng.lognormal(mean=0.5, sigma=0.5, size=D)
    if massive:
        truth[:, :3] = np.array([60.0, -40.0, 100.0]) + 2.0 * rng.normal(size=(REFERENCES, 3))
        deviation[:3] = 60.0
    weights = np.zeros((targets, REFERENCES))
    for i, row in enumerate(weights):
        mixture = 0.15 + 0.4 * rng.dirichlet(np.ones(TRUE))
        if i % 3 == 0:
            mixture[0] *= -1.0
        members = np.arange(REFERENCES) if scattered else np.flatnonzero(home == rng.integers(FAMILIES))
        row[rng.choice(members, size=TRUE, replace=False)] = mixture / mixture.sum()
    mixtures = weights @ truth

    def halves(means: np.ndarray, samples: int) -> tuple[np.ndarray, np.ndarray]:
        scale = deviation / np.sqrt(samples / 2.0)
        one, other = (means + scale * rng.normal(size=means.shape) for _ in range(2))
        return one.astype(np.float32), other.astype(np.float32)

    library_halves, target_halves = halves(truth, REFERENCE_SAMPLES), halves(mixtures, TARGET_SAMPLES)
    return World(
        (library_halves[0] + library_halves[1]) / 2,
        library_halves,
        (target_halves[0] + target_halves[1]) / 2,
        target_halves,
        weights,
        mixtures,
        deviation,
    )


@dataclass(frozen=True)
class Prepared:
    """The world under one preparation, with every target's neighbours."""

    library: np.ndarray
    library_halves: tuple[np.ndarray, np.ndarray]
    targets: np.ndarray
    target_halves: tuple[np.ndarray, np.ndarray]
    neighbours: np.ndarray
    squared_distances: np.ndarray
    calibration: Calibration

    def moments(self, variant: Variant, half: int | None = None) -> Moments:
        library = self.library if half is None else self.library_halves[half]
        targets = self.targets if half is None else self.target_halves[half]
        return gather_moments(library, self.neighbours, targets, variant=variant)


def prepare(world: World, preparation: Preparation, *, neighbours: int) -> Prepared:
    within = np.tile(world.deviation, (REFERENCES, 1))
    covariance = None
    if preparation is Preparation.WHITENED:
        covariance = within_covariance_of(*world.library_halves, np.full(REFERENCES, REFERENCE_SAMPLES))
    transform: Transform = fit_transform(preparation, calibrate(world.library, within), within_covariance=covariance)
    library, targets = transform(world.library), transform(world.targets)
    near = nearest(library, [f"{i:03d}" for i in range(REFERENCES)], targets, count=neighbours)
    return Prepared(
        library,
        tuple(transform(half) for half in world.library_halves),
        targets,
        tuple(transform(half) for half in world.target_halves),
        near.indices,
        near.squared_distances,
        calibrate(library, np.ones_like(library)),
    )


Rule = Callable[[Prepared, int | None], np.ndarray]


def fixed(variant: Variant, fraction: float) -> Rule:
    """A fixed fraction of the spread."""

    def weights(world: Prepared, half: int | None) -> np.ndarray:
        penalty = np.full(len(world.targets), fraction * world.calibration.spread)
        return lockstep_weights(
            world.moments(variant, half), penalty=penalty, variant=variant, allowed=None, device=None
        )

    return weights


def share_of_largest(variant: Variant, share: float) -> Rule:
    """A fixed share of each target's own lambda_max or lambda_bar."""

    def weights(world: Prepared, half: int | None) -> np.ndarray:
        moments = world.moments(variant, half)
        penalty = share * largest_penalties(moments, variant=variant)
        return lockstep_weights(moments, penalty=penalty, variant=variant, allowed=None, device=None)

    return weights


def along_the_path(variant: Variant, choose: Callable) -> Rule:
    """A penalty chosen on each target's own path."""

    def weights(world: Prepared, half: int | None) -> np.ndarray:
        moments = world.moments(variant, half)
        grid = penalty_grid(largest_penalties(moments, variant=variant), lowest_share=1e-3, count=60)
        chosen = choose(world, variant, half, moments, grid)
        return lockstep_weights(moments, penalty=chosen, variant=variant, allowed=None, device=None)

    return weights


def bic_choice(world: Prepared, variant: Variant, half: int | None, moments: Moments, grid: np.ndarray) -> np.ndarray:
    found = paths(moments, ends=grid[:, -1], variant=variant, allowed=None)
    scale = moments.energy if not variant.sums_to_one else np.einsum("tkk->t", moments.gram) / moments.size
    return by_bic(found, moments, grid, dimension=D, scale=scale)


def split_half_choice(slack: float) -> Callable:
    def choose(world: Prepared, variant: Variant, half: int | None, moments: Moments, grid: np.ndarray) -> np.ndarray:
        found = paths(world.moments(variant, 0), ends=0.1 * grid[:, -1], variant=variant, allowed=None)
        return by_split_half(found, world.moments(variant, 1), grid, slack=slack)

    return choose


def refit(world: Prepared, half: int | None) -> np.ndarray:
    library = world.library if half is None else world.library_halves[half]
    targets = world.targets if half is None else world.target_halves[half]
    about = gather_moments_about(library, world.neighbours, targets, origin=world.calibration.centre)
    return solve_moments(
        world.moments(Variant.REFIT, half),
        about,
        variant=Variant.REFIT,
        penalty=np.zeros(len(targets)),
        spread=world.calibration.spread,
        dimension=D,
        tolerance=1e-8,
        device=None,
    ).weights


def uniform_nearest(world: Prepared, half: int | None) -> np.ndarray:
    weights = np.zeros(world.neighbours.shape)
    weights[:, :TRUE] = uniform_weights(TRUE)
    return weights


def similarity(world: Prepared, half: int | None) -> np.ndarray:
    quarter = world.calibration.spread / 4.0
    return np.stack([similarity_weights(row, temperature=quarter) for row in world.squared_distances])


RULES: dict[str, Rule] = {
    "uniform over the nearest 4": uniform_nearest,
    "similarity softmax": similarity,
    "simplex": fixed(Variant.SIMPLEX, 0.0),
    "affine, .03 of spread": fixed(Variant.AFFINE, 0.03),
    "affine, .05 of spread": fixed(Variant.AFFINE, 0.05),
    "affine, .1 of spread": fixed(Variant.AFFINE, 0.1),
    "affine, BIC": along_the_path(Variant.AFFINE, bic_choice),
    "affine, split-half": along_the_path(Variant.AFFINE, split_half_choice(0.0)),
    "free, .1 of lambda_max": share_of_largest(Variant.FREE, 0.1),
    "free, .1 of spread": fixed(Variant.FREE, 0.1),
    "free, BIC": along_the_path(Variant.FREE, bic_choice),
    "free, split-half": along_the_path(Variant.FREE, split_half_choice(0.0)),
    "free, split-half within 5 %": along_the_path(Variant.FREE, split_half_choice(0.05)),
    "nonnegative, .1 of lambda_max": share_of_largest(Variant.NONNEGATIVE, 0.1),
    "refit, BIC": refit,
}


def rows(world: World, preparation: Preparation, *, name: str, neighbours: int) -> Iterator[Row]:
    prepared = prepare(world, preparation, neighbours=neighbours)
    t = len(world.targets)
    true = np.take_along_axis(world.weights, prepared.neighbours, axis=1) != 0.0
    recall = float(true.sum(axis=1).mean() / TRUE)
    for rule_name, rule in RULES.items():
        weights = rule(prepared, None)
        chosen = weights != 0.0
        f1 = 2.0 * (chosen & true).sum(axis=1) / (chosen.sum(axis=1) + TRUE)
        full = np.zeros((t, REFERENCES))
        np.put_along_axis(full, prepared.neighbours, weights, axis=1)
        miss = np.linalg.norm((full @ world.library - world.mixtures) / world.deviation, axis=1)
        closest = (world.library[prepared.neighbours[:, 0]] - world.mixtures) / world.deviation
        error = float(np.mean(miss / np.linalg.norm(closest, axis=1)))
        agreement = float(support_agreement(rule(prepared, 0), rule(prepared, 1)).mean())
        yield Row(
            name, preparation.value, rule_name, float(f1.mean()), float(chosen.sum(1).mean()), error, agreement, recall
        )


WORLDS = {
    "plain": {"massive": False, "scattered": False},
    "massive coordinates": {"massive": True, "scattered": False},
    "massive, any family, whole library": {"massive": True, "scattered": True},
}


def main() -> None:
    asked = arguments((__doc__ or "").split("\n")[0])
    if not asked.json:
        print("| world | preparation | rule | F1 | used | error | agreement | recall |")
        print("|---|---|---|---|---|---|---|---|")
    for name, kind in WORLDS.items():
        world = make_world(**kind, targets=20 if asked.quick else 300, seed=0)
        neighbours = REFERENCES if kind["scattered"] else NEIGHBOURS
        for preparation in Preparation:
            for row in rows(world, preparation, name=name, neighbours=neighbours):
                if asked.only not in row.rule:
                    continue
                if asked.json:
                    print(json.dumps(asdict(row)), flush=True)
                    continue
                print(
                    f"| {row.world} | {row.preparation} | {row.rule} | {row.f1:.2f} | {row.used:.1f} | "
                    f"{row.error:.2f} | {row.agreement:.2f} | {row.recall:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
