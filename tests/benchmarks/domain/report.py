"""Tables and sentences from the benchmark's units. Seeds are averaged for each target; intervals are over targets."""

import platform
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from tasks.evaluation.intervals import Interval, mean_intervals, paired_interval
from tests.benchmarks.domain.peers.names import PEERS

Unit = dict[str, Any]
HEADING = "## Domains"
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
_HOW = {"resamples": 5000, "level": 0.95, "seed": 0}


def summary(units: Sequence[Unit]) -> dict[str, Any]:
    """The domain's means and paired differences, as one JSON object."""
    return {
        "case": units[0]["domain"],
        "seeds": sorted({unit["seed"] for unit in units}),
        "full_library": _side(units, without_siblings=False),
        "without_siblings": _side(units, without_siblings=True),
        "transfer": transfer(units),
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
    return dict(zip(methods, mean_intervals(stacked, **_HOW), strict=True))


def differences(units: Sequence[Unit], metric: str) -> dict[str, Interval]:
    """Paired difference l1 - method over targets."""
    ours = by_target(units, metric, "l1")
    return {
        method: paired_interval(ours, by_target(units, metric, method), **_HOW)
        for method in methods_of(units)
        if method != "l1"
    }


def transfer(units: Sequence[Unit]) -> dict[str, float] | None:
    """Rank correlation within targets of nearness with what a single reference's adapter does there; seed 0.

    Positive: nearer references transfer better. Values are signed so that better is higher.
    """
    correlations = []
    for unit in units:
        alone = [f"only:{one}" for one in unit["library"]]
        if alone[0] not in unit["scores"]:
            continue
        scores = [unit["scores"][one][unit["primary"]] for one in alone]
        sign = 1 if scores[0]["direction"] == "higher" else -1
        values = [sign * score["value"] for score in scores]
        correlations.append(stats.spearmanr(-np.array(unit["distances"]), values).statistic)
    if not correlations:
        return None
    interval = mean_intervals(np.array([correlations]), **_HOW)[0]
    return {"spearman": round(interval.value, 3), "low": round(interval.low, 3), "high": round(interval.high, 3)}


def _rounded(interval: Interval) -> list[float]:
    return [round(value, 4) for value in (interval.value, interval.low, interval.high)]


def domains_text(document: Path, units: Sequence[Unit], command: str) -> str:
    """The document with its section "## Domains" written anew; prose under "### What it says" is kept."""
    old = document.read_text(encoding="utf-8") if document.exists() else "# Benchmarks\n"
    before, _, section = old.partition(f"{HEADING}\n")
    inside, following = _cut(section)
    prose = inside.partition("### What it says\n")[2]
    parts = [f"{HEADING}\n", _provenance(command)]
    for domain in sorted({unit["domain"] for unit in units}):
        parts += _tables(domain, [unit for unit in units if unit["domain"] == domain])
    if prose:
        parts.append(f"### What it says\n{prose.rstrip()}\n")
    return before.rstrip() + "\n\n" + "\n".join(parts) + (f"\n{following}" if following else "")


def _cut(section: str) -> tuple[str, str]:
    """(the section's own text, what follows from the next heading of its level on)."""
    position = section.find("\n## ")
    return (section, "") if position < 0 else (section[: position + 1], section[position + 1 :])


def _provenance(command: str) -> str:
    today = datetime.now(UTC).date().isoformat()
    machine = f"{platform.machine()}, {platform.processor() or 'processor not named'}"
    return (
        f"`python -m tests.benchmarks.domains {command}` on {today}, CPU only ({machine}), one thread a process.\n"
        "Means over targets with seeds averaged for each target; 95 % bootstrap intervals over targets; "
        "penalty .05 of the library's spread for l1 and nonnegative, chosen before the run.\n"
    )


def _tables(domain: str, units: Sequence[Unit]) -> list[str]:
    parts = [f"### {domain.capitalize()}\n"]
    for without_siblings in (False, True):
        chosen = [unit for unit in units if unit["without_siblings"] == without_siblings]
        if chosen:
            title = "siblings left out as well" if without_siblings else "only its own adapter left out"
            parts.append(_table(chosen, title))
    found = transfer(units)
    if found is not None:
        parts.append(
            f"Nearness against transfer of single adapters, Spearman within targets (seed 0): {found['spearman']:.2f} "
            f"[{found['low']:.2f}, {found['high']:.2f}].\n"
        )
    return parts


def _table(units: Sequence[Unit], title: str) -> str:
    metrics = list(units[0]["scores"]["l1"])
    seeds = sorted({unit["seed"] for unit in units})
    count = len({unit["target"] for unit in units})
    arrows = {"higher": "higher is better", "lower": "lower is better"}
    heads = [f"{metric} ({arrows[units[0]['scores']['l1'][metric]['direction']]}) | l1 minus it" for metric in metrics]
    lines = [
        f"{count} targets, seeds {seeds}, {title}:\n",
        "| method | " + " | ".join(heads) + " |",
        "| --- |" + " ---: | ---: |" * len(metrics),
    ]
    averages = {metric: means(units, metric) for metric in metrics}
    paired = {metric: differences(units, metric) for metric in metrics}
    for method in methods_of(units):
        cells = [
            f"{_cell(averages[metric][method])} | {_cell(paired[metric][method]) if method != 'l1' else ''}"
            for metric in metrics
        ]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(interval: Interval) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
