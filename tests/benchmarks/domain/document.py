"""The section "## Domains" of a document: tables from the benchmark's units, and the prose that people wrote there."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tasks.evaluation.intervals import Interval
from tests.benchmarks.domain.report import Unit, best_alone, by_size, differences, means, methods_of, transfer

HEADING, PROSE = "## Domains", "### What it says"
_SIZED = ("l1", "least_squares")
_EDGES = (1.05, 1.5)
_ARROWS = {"higher": "higher is better", "lower": "lower is better"}
_HOW_MEASURED = """\
Means over targets, seeds averaged for each target; 95 % bootstrap intervals over targets; differences whose
interval does not touch zero are bold. Penalty .05 of the library's spread for l1 and nonnegative, temperature .25
of it for similarity, all chosen before the run. `random`: random factors of l1's norm in every module; `permuted`: l1's
weights on other references; `ceiling`: the target's own adapter. Peers: `lorahub` sees five labelled training rows of
the target (40 looks, factors summed one by one, as its authors do); `ties` and `dare` are PEFT's functions on whole
deltas, density .2; `arrow` is PEFT's, where it can.
"""


def domains_text(document: Path, units: Sequence[Unit], command: str) -> str:
    """The document with its section "## Domains" written anew; what stands under "What it says" is kept."""
    old = document.read_text(encoding="utf-8") if document.exists() else "# Benchmarks\n"
    before, _, section = old.partition(f"{HEADING}\n")
    inside, following = _cut(section)
    prose = inside.partition(f"{PROSE}\n")[2]
    parts = [f"{HEADING}\n", _provenance(command)]
    for domain in sorted({unit["domain"] for unit in units}):
        parts += _tables(domain, [unit for unit in units if unit["domain"] == domain])
    if prose:
        parts.append(f"{PROSE}\n{prose.rstrip()}\n")
    return before.rstrip() + "\n\n" + "\n".join(parts) + (f"\n{following}" if following else "")


def _cut(section: str) -> tuple[str, str]:
    """(the section's own text, what follows from the next heading of its level on)."""
    position = section.find("\n## ")
    return (section, "") if position < 0 else (section[: position + 1], section[position + 1 :])


def _provenance(command: str) -> str:
    today = datetime.now(UTC).date().isoformat()
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    return (
        f"`python -m tests.benchmarks.domains {command}` on {today}, {machine}, one thread a process.\n{_HOW_MEASURED}"
    )


def _tables(domain: str, units: Sequence[Unit]) -> list[str]:
    parts = [f"### {domain.capitalize()}\n"]
    for without_siblings in (False, True):
        chosen = [unit for unit in units if unit["without_siblings"] == without_siblings]
        if chosen:
            title = "siblings left out as well" if without_siblings else "only its own adapter left out"
            parts += [_table(chosen, title), _sizes(chosen)]
    parts.append(_lead_by_size(units))
    found, best = transfer(units), best_alone(units)
    if found is not None and best is not None:
        parts.append(
            f"Nearness against transfer of single adapters, Spearman within targets (seed 0): {found['spearman']:.2f} "
            f"[{found['low']:.2f}, {found['high']:.2f}].\n"
        )
        parts.append(
            f"The best single adapter, chosen with the test labels (seed 0): {best['value']:.3f} "
            f"[{best['low']:.3f}, {best['high']:.3f}].\n"
        )
    return parts


def _table(units: Sequence[Unit], title: str) -> str:
    scores = units[0]["scores"]["l1"]
    primary = units[0]["primary"]
    metrics = sorted(scores, key=lambda metric: (metric != primary, metric))
    seeds = ", ".join(str(seed) for seed in sorted({unit["seed"] for unit in units}))
    count = len({unit["target"] for unit in units})
    heads = [f"{metric} ({_ARROWS[scores[metric]['direction']]})" for metric in metrics]
    heads.insert(1, f"l1 minus it, {primary}")
    averages, paired = [means(units, metric) for metric in metrics], differences(units, primary)
    lines = [
        f"{count} targets, seeds {seeds}, {title}:\n",
        f"| method | {' | '.join(heads)} |",
        "| --- |" + " ---: |" * len(heads),
    ]
    for method in methods_of(units):
        cells = [_cell(found[method]) for found in averages]
        cells.insert(1, _marked(paired[method]) if method in paired else "")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _sizes(units: Sequence[Unit]) -> str:
    """How large the weights were: with sum one, everything above one was subtracted again."""
    sizes = {method: np.mean([np.abs(unit["weights"][method]).sum() for unit in units]) for method in _SIZED}
    return "Mean sum of the weights' magnitudes: " + ", ".join(f"{m} {size:.1f}" for m, size in sizes.items()) + ".\n"


def _lead_by_size(units: Sequence[Unit]) -> str:
    """Whether large weights, which say that the target lies far outside of the library, did good."""
    ranges = [f"up to {_EDGES[0]}", f"{_EDGES[0]} to {_EDGES[1]}", f"above {_EDGES[1]}"]
    groups = zip(ranges, by_size(units, _EDGES), strict=True)
    texts = [f"{name} {lead:+.3f} ({count} units)" for name, (count, lead) in groups if count]
    return f"l1 against simplex (plus is better) by that sum, both libraries: {', '.join(texts)}.\n"


def _cell(interval: Interval) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _marked(interval: Interval) -> str:
    text = f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
    return f"**{text}**" if interval.low > 0 or interval.high < 0 else text
