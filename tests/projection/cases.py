"""Problems that tests of projections share: ordinary ones, and every awkward kind that is promised to work."""

from dataclasses import dataclass

import numpy as np

from tasks.projection.projection import Projection
from tasks.projection.solve import project
from tasks.projection.variants import Variant

VARIANTS = list(Variant)
SUM_ONE = [variant for variant in Variant if variant.sums_to_one]
KINDS = [
    "random",
    "common mean",
    "collinear",
    "duplicated",
    "more atoms than dimensions",
    "massive coordinates",
    "single",
]


@dataclass(frozen=True)
class Case:
    """atoms (k, d) and target (d,) in float32, with the library's spread and centre."""

    atoms: np.ndarray
    target: np.ndarray
    spread: float
    centre: np.ndarray


def case_of(kind: str, seed: int) -> Case:
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    k, d = int(rng.integers(2, 13)), int(rng.integers(14, 40))
    if kind == "more atoms than dimensions":
        k, d = int(rng.integers(8, 16)), int(rng.integers(2, 6))
    if kind == "single":
        k = 1
    atoms = rng.normal(size=(k, d))
    if kind == "common mean":
        atoms += 5.0 * rng.normal(size=d)
    if kind == "collinear":  # half of the atoms lie on lines through two others
        for i in range(k // 2):
            share = rng.uniform(-1.0, 2.0)
            atoms[i] = share * atoms[-1] + (1.0 - share) * atoms[k // 2]
    if kind == "duplicated":
        atoms[: k // 2] = atoms[k - k // 2 :]
    if kind == "massive coordinates":
        atoms[:, :3] *= 1000.0
        atoms[:, :3] += 1000.0 * rng.normal(size=3)
    mix = rng.dirichlet(np.ones(k)) + rng.normal(size=k) * rng.choice([0.0, 0.3]) / k
    target = mix @ atoms + rng.normal(size=d) * rng.choice([0.0, 0.1, 1.0]) * atoms.std(axis=0).mean()
    atoms, target = atoms.astype(np.float32), target.astype(np.float32)
    # The centre is the whole library's, not the neighbourhood's own mean.
    centre = atoms.astype(np.float64).mean(axis=0) + 0.3 * rng.normal(size=d) * (1.0 + atoms.std(axis=0))
    spread = float(np.square(atoms - centre).sum(axis=1).mean())
    return Case(atoms, target, spread, centre)


def solve(case: Case, variant: Variant, relative_penalty: float) -> Projection:
    return project(
        case.atoms,
        case.target,
        variant=variant,
        relative_penalty=relative_penalty,
        spread=case.spread,
        centre=case.centre,
        tolerance=1e-8,
    )


def objective(case: Case, weights: np.ndarray, penalty: float) -> float:
    """Eq. 5 as written, from the prototypes and not from moments."""
    residual = case.target.astype(np.float64) - weights @ case.atoms.astype(np.float64)
    return float(residual @ residual + penalty * np.abs(weights).sum())
