"""Numbers from the benchmark's units. Seeds are averaged for each target; intervals are over targets."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from tasks.evaluation.intervals import Interval, mean_intervals, paired_interval
from tests.benchmarks.domain.peers.names import PEERS

Unit = dict[str, Any]
METHODS = (
    "base",
    "nearest",
    "uniform",
    "similarity",
    "least_squares",
    "simplex",
    "nonnegative",
    "l1",
    "random_member",
    "random",
    "permuted",
    "ceiling",
    *PEERS,
)
HOW = {"resamples": 5000, "level": 0.95, "seed": 0}


def summary(units: Sequence[Unit]) -> dict[str, Any]:
    """The domain's means and paired differences, as one JSON object."""
    return {
        "case": units[0]["domain"],
        "seeds": sorted({unit["seed"] for unit in units}),
        "full_library": _side(units, without_siblings=False),
        "without_siblings": _side(units, without_siblings=True),
        "transfer": transfer(units),
        "best_alone": best_alone(units),
    }


def _side(units: Sequence[Unit], *, without_siblings: bool) -> dict[str, Any]:
    chosen = [unit for unit in units if unit["without_siblings"] == without_siblings]
    if not chosen:
        return {}
    return {
        metric: {
            "means": {method: _rounded(interval) for method, interval in means(chosen, metric).items()},
            "l1_minus": {method: _rounded(interval) for method, interval in differences(chosen, metric).items()},
            "targets": len({unit["target"] for unit in chosen}),
        }
        for metric in chosen[0]["scores"]["l1"]
    }


def methods_of(units: Sequence[Unit]) -> list[str]:
    """The methods that every unit has, in the order of the tables."""
    return [method for method in METHODS if all(method in unit["scores"] for unit in units)]


def by_target(units: Sequence[Unit], metric: str, method: str) -> np.ndarray:
    """A method's value for each target, seeds averaged, targets in order of name."""
    values: dict[str, list[float]] = defaultdict(list)
    for unit in units:
        values[unit["target"]].append(unit["scores"][method][metric]["value"])
    return np.array([np.mean(values[target]) for target in sorted(values)])


def means(units: Sequence[Unit], metric: str) -> dict[str, Interval]:
    """Mean over targets of every method, with its bootstrap interval over targets."""
    methods = methods_of(units)
    stacked = np.stack([by_target(units, metric, method) for method in methods])
    return dict(zip(methods, mean_intervals(stacked, **HOW), strict=True))


def differences(units: Sequence[Unit], metric: str) -> dict[str, Interval]:
    """Paired difference l1 - method over targets."""
    ours = by_target(units, metric, "l1")
    return {
        method: paired_interval(ours, by_target(units, metric, method), **HOW)
        for method in methods_of(units)
        if method != "l1"
    }


def transfer(units: Sequence[Unit]) -> dict[str, float] | None:
    """Rank correlation within targets of nearness with what a single reference's adapter does there; seed 0.

    Positive: nearer references transfer better. Values are signed so that better is higher.
    """
    correlations = [
        stats.spearmanr(-np.array(unit["distances"]), _gains_alone(unit)).statistic for unit in _examined_alone(units)
    ]
    return _found(correlations, "spearman")


def best_alone(units: Sequence[Unit]) -> dict[str, float] | None:
    """The best single reference's value, chosen with the target's test labels: no method may do so; seed 0."""
    return _found([_sign(unit) * float(_gains_alone(unit).max()) for unit in _examined_alone(units)], "value")


def by_size(units: Sequence[Unit], edges: Sequence[float]) -> list[tuple[int, float]]:
    """(units, mean of l1 - simplex, positive is better) for each range of the sum of the l1 weights' magnitudes."""
    sizes = np.array([np.abs(unit["weights"]["l1"]).sum() for unit in units])
    groups = np.digitize(sizes, edges)
    lead = np.array([_sign(unit) * (_primary(unit, "l1") - _primary(unit, "simplex")) for unit in units])
    counts = [int((groups == group).sum()) for group in range(len(edges) + 1)]
    return [(count, float(lead[groups == group].mean()) if count else 0.0) for group, count in enumerate(counts)]


def _primary(unit: Unit, method: str) -> float:
    return float(unit["scores"][method][unit["primary"]]["value"])


def _examined_alone(units: Sequence[Unit]) -> list[Unit]:
    return [unit for unit in units if f"only:{unit['library'][0]}" in unit["scores"]]


def _gains_alone(unit: Unit) -> np.ndarray:
    """Each reference's value in order of the library, signed so that better is higher."""
    values = [_primary(unit, f"only:{one}") for one in unit["library"]]
    return _sign(unit) * np.array(values)


def _sign(unit: Unit) -> int:
    return 1 if unit["scores"]["l1"][unit["primary"]]["direction"] == "higher" else -1


def _found(values: Sequence[float], name: str) -> dict[str, float] | None:
    if not values:
        return None
    interval = mean_intervals(np.array([values]), **HOW)[0]
    return {name: round(interval.value, 3), "low": round(interval.low, 3), "high": round(interval.high, 3)}


def _rounded(interval: Interval) -> list[float]:
    return [round(value, 4) for value in (interval.value, interval.low, interval.high)]
