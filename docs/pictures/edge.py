"""Draws edge.png of docs/benchmarks.md, inside against beyond the library's edge: `python docs/pictures/edge.py CACHE`.

CACHE is what `python -m tests.benchmarks.examples --domain segmentation --cache CACHE` left. Seeds are averaged.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib
import numpy as np

from tasks.examples.segmentation.pages import EDGE, INSIDE, LIBRARY

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLOURS = {
    "base": "#9aa5b1",
    "nearest": "#efb118",
    "uniform": "#a463f2",
    "simplex": "#4269d0",
    "l1": "#d62728",
    "ceiling": "#444444",
}


def main() -> None:
    """Left: where the targets lie. Right: Dice of every method on each of them."""
    values, seeds = _values(Path(sys.argv[1]))
    figure, (where, dice) = plt.subplots(1, 2, figsize=(10, 4.2), width_ratios=(1, 1.9), layout="constrained")
    _map(where)
    targets = (*INSIDE, *EDGE)
    for method, colour in COLOURS.items():
        height = [np.mean(values[light.name, method]) for light in targets]
        style = {"marker": "o", "linestyle": "none", "markersize": 8 if method == "l1" else 6}
        dice.plot(range(len(targets)), height, color=colour, label=method, **style)
    dice.axvspan(-0.5, len(INSIDE) - 0.5, color="#e8f1e8", zorder=0)
    dice.set_xticks(range(len(targets)), [f"{one.ramp:+.1f}\n{one.stripe:.2f}" for one in targets])
    dice.set_xlim(-0.5, len(targets) - 0.5)
    dice.set_ylabel("Dice")
    dice.set_title(f"seeds {', '.join(seeds)}; green: inside of the library", fontsize=10, loc="left")
    dice.legend(frameon=False, fontsize=8, ncols=3, loc="lower left")
    dice.spines[["top", "right"]].set_visible(False)
    figure.savefig(Path(__file__).with_name("edge.png"), dpi=90)


def _map(axes: plt.Axes) -> None:
    groups = (
        (LIBRARY, "s", "#777777", "library"),
        (INSIDE, "o", "#3ca951", "inside"),
        (EDGE, "^", "#d62728", "beyond"),
    )
    for lights, marker, colour, label in groups:
        axes.plot(
            [one.ramp for one in lights],
            [one.stripe for one in lights],
            marker,
            color=colour,
            label=label,
            markersize=8,
        )
    axes.set_xlabel("ramp of the light")
    axes.set_ylabel("strength of the stripes")
    axes.set_ylim(-0.1, 1.5)
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=3, handletextpad=0.1, columnspacing=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def _values(cache: Path) -> tuple[dict[tuple[str, str], list[float]], list[str]]:
    """Dice of each (target, method) by seed, and the seeds."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    projects = sorted(cache.glob("segmentation-*"))
    for path in (path for project in projects for path in sorted((project / "scores").glob("*.json"))):
        unit = json.loads(path.read_text(encoding="utf-8"))
        for method in COLOURS:
            values[unit["target"], method].append(unit["scores"][method]["dice"]["value"])
    return values, [project.name.removeprefix("segmentation-") for project in projects]


if __name__ == "__main__":
    main()
