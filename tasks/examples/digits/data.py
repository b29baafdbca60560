"""Which digits each condition gets, and the Parquet files they are kept in."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sklearn.datasets import load_digits

from tasks.examples.digits.conditions import enlarge

TRAINING_POOL = 1200  # of 1797 digits; the rest are for evaluation only
COUNT = 200  # digits of each sample set and of each evaluation set


@dataclass(frozen=True, slots=True)
class Digits:
    """images (n, 1, side, side) in 0..1 and labels (n,)."""

    images: torch.Tensor
    labels: torch.Tensor

    def take(self, rows: torch.Tensor) -> "Digits":
        """The digits of these rows."""
        return Digits(self.images[rows], self.labels[rows])


def read_digits(seed: int) -> tuple[Digits, Digits]:
    """scikit-learn's bundled handwritten digits, shuffled and cut into (training pool, evaluation pool)."""
    bundled = load_digits()
    order = np.random.default_rng(seed).permutation(len(bundled.images))
    images = enlarge(bundled.images[order])
    labels = torch.from_numpy(bundled.target[order].astype(np.int64))
    return (
        Digits(images[:TRAINING_POOL], labels[:TRAINING_POOL]),
        Digits(images[TRAINING_POOL:], labels[TRAINING_POOL:]),
    )


def draw(pool: Digits, count: int, *, generator: torch.Generator) -> Digits:
    """`count` different digits of the pool."""
    return pool.take(torch.randperm(len(pool.labels), generator=generator)[:count])


def write_samples(inputs: torch.Tensor, path: Path) -> None:
    """Unlabelled model inputs (n, 1, side, side) as column `pixel_values`."""
    _write({"pixel_values": _rows(inputs)}, path)


def write_evaluation(inputs: torch.Tensor, labels: torch.Tensor, path: Path) -> None:
    """Labelled model inputs as columns `pixel_values` and `label`."""
    _write({"pixel_values": _rows(inputs), "label": pa.array(labels.numpy(), type=pa.int64())}, path)


def _rows(inputs: torch.Tensor) -> pa.Array:
    return pa.array(list(inputs.flatten(1).numpy()), type=pa.list_(pa.float32()))


def _write(columns: dict[str, pa.Array], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, compression="zstd")
