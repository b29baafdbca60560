"""Which variant, preparation and penalty serve the digits best: `python -m tests.benchmarks.variants PROJECT`.

PROJECT is the embedded example (`tesserae example DIR`) after one `tesserae refresh DIR`. Every unseen target is
composed from the library with each choice and scored on its labelled samples; a column is the mean accuracy over the
targets, and the last two compare with the paper's Eq. 5 at .05 of the spread: mean difference, and its 95 % bootstrap
interval over targets.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml

from tasks.evaluation.evaluate import evaluate_target
from tasks.evaluation.examiners.setting import Setting
from tasks.evaluation.job import Bootstrap, EvaluationJob
from tasks.files import DigestCache
from tasks.library.base_model import resolve_base
from tasks.library.families import Family
from tasks.projection.baselines import (
    base_weights,
    least_squares_weights,
    nearest_weights,
    similarity_weights,
    uniform_weights,
)
from tasks.projection.calibration import calibrate
from tasks.projection.preparation import Preparation, fit_transform, within_covariance_of
from tasks.projection.solve import project
from tasks.projection.variants import Variant


def prototypes_of(project_directory: Path) -> dict[str, dict]:
    files = sorted((project_directory / "workspace" / "prototypes").glob("*.parquet"))
    return {row["name"]: row for file in files for row in pq.read_table(file).to_pylist()}


def weights_of(library: list[dict], target: dict) -> dict[str, tuple[float, ...]]:
    """Weights on the whole library, in its order, by the name of the choice."""
    raw = np.array([row["prototype"] for row in library], dtype=np.float32)
    calibration = calibrate(raw, np.array([row["within_std"] for row in library]))
    halves = [np.array([row[half] for row in library], dtype=np.float32) for half in ("half_a", "half_b")]
    covariance = within_covariance_of(halves[0], halves[1], np.array([row["count"] for row in library]))
    goal = np.array(target["prototype"], dtype=np.float32)
    squares = np.square(raw.astype(np.float64) - goal).sum(axis=1)
    nearest = np.zeros(len(library))
    nearest[squares.argmin()] = nearest_weights(1)[0]
    out = {
        "base": base_weights(len(library)),
        "nearest": nearest,
        "uniform": uniform_weights(len(library)),
        "similarity": similarity_weights(squares, temperature=calibration.spread / 4.0),
        "least squares": least_squares_weights(raw, goal),
    }
    for preparation in (Preparation.RAW, Preparation.STANDARDISED, Preparation.UNIT, Preparation.WHITENED):
        transform = fit_transform(preparation, calibration, within_covariance=covariance)
        atoms, aim = transform(raw), transform(goal[None])[0]
        scale = calibrate(atoms, np.zeros_like(atoms))
        for variant, penalty in CHOICES:
            label = f"{variant.value} {penalty:.2f}".replace(" 0.", " .") if penalty else variant.value
            out[f"{label}, {preparation.value}"] = project(
                atoms,
                aim,
                variant=variant,
                relative_penalty=penalty,
                spread=scale.spread,
                centre=scale.centre,
                tolerance=1e-6,
            ).weights
    return {name: tuple(map(float, weights)) for name, weights in out.items()}


CHOICES = [
    (Variant.SIMPLEX, 0.0),
    (Variant.AFFINE, 0.03),
    (Variant.AFFINE, 0.05),
    (Variant.AFFINE, 0.1),
    (Variant.FREE, 0.05),
    (Variant.NONNEGATIVE, 0.05),
    (Variant.REFIT, 0.0),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    root = parser.parse_args().project
    settings = yaml.safe_load((root / "project.yaml").read_text())
    base = resolve_base(settings["base_model"], None, root, DigestCache({}))
    known = prototypes_of(root)
    library = [known[entry["name"]] for entry in settings["library"]]
    accuracy: dict[str, list[float]] = {}
    for entry in settings["targets"]:
        scores = evaluate_target(
            EvaluationJob(
                target=entry["name"],
                setting=Setting(
                    Family.ENCODER, base, str(root / entry["evaluation"]), device="cpu", batch_size=256, shown=0
                ),
                adapters=tuple(root / item["adapter"] for item in settings["library"]),
                weights=weights_of(library, known[entry["name"]]),
                whole={"ceiling": root / entry["adapter"]},
                controlled=None,
                draws=0,
                bootstrap=Bootstrap(resamples=10, level=0.95, seed=0),
            )
        )
        for name, found in scores.scores.items():
            accuracy.setdefault(name, []).append(found[scores.primary].value)
    rng = np.random.default_rng(0)
    resamples = rng.integers(0, len(settings["targets"]), size=(4000, len(settings["targets"])))
    print("| weights | accuracy | difference from the paper's at .05 | 95 % interval |\n|---|---|---|---|")
    for name, values in accuracy.items():
        apart = np.array(values) - np.array(accuracy["affine .05, raw"])
        low, high = np.quantile(apart[resamples].mean(axis=1), [0.025, 0.975])
        print(f"| {name} | {np.mean(values):.3f} | {apart.mean():+.3f} | {low:+.3f} to {high:+.3f} |")


if __name__ == "__main__":
    main()
