"""Percentile bootstrap over samples: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13."""

from dataclasses import dataclass

import numpy as np

_CELLS = 1 << 22  # counts in memory at a time (32 MiB); more samples only mean more chunks


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the bounds between which `level` of its bootstrap distribution lies."""

    value: float
    low: float
    high: float


def mean_intervals(values: np.ndarray, *, resamples: int, level: float, seed: int) -> list[Interval]:
    """Intervals of the means of the rows of `values` (m, n), all on the same resamples of the n samples.

    One seed gives one set of resamples, so that the intervals of methods on the same samples can be compared. A row
    whose values are all equal has an interval of width zero. Raises ValueError for no sample or a value not finite.
    """
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(f"values have shape {values.shape}; at least one sample is needed")
    if not np.isfinite(values).all():
        raise ValueError("a value is not finite; leave the sample out or give it the metric's worst value")
    means = _resampled_means(values.astype(np.float64), resamples, np.random.default_rng(seed))
    tail = (1.0 - level) / 2.0
    bounds = np.quantile(means, [tail, 1.0 - tail], axis=1)
    return [
        Interval(float(row.mean()), float(low), float(high))
        for row, low, high in zip(values, bounds[0], bounds[1], strict=True)
    ]


def paired_interval(first: np.ndarray, second: np.ndarray, *, resamples: int, level: float, seed: int) -> Interval:
    """Interval of the mean difference first - second of two methods on the same samples, each (n,)."""
    if first.shape != second.shape:
        raise ValueError(
            f"paired values have shapes {first.shape} and {second.shape}; they must be of the same samples"
        )
    return mean_intervals((first - second)[None], resamples=resamples, level=level, seed=seed)[0]


def _resampled_means(values: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Means (m, resamples): each resample draws n of n samples with replacement."""
    count = values.shape[1]
    # The number of times each sample is drawn is multinomial, and the means are then one matrix product.
    chunk = max(1, _CELLS // count)
    shares = np.full(count, 1.0 / count)
    parts = [
        values @ generator.multinomial(count, shares, size=min(chunk, resamples - start)).T / count
        for start in range(0, resamples, chunk)
    ]
    return np.concatenate(parts, axis=1)
