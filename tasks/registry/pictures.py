"""The charts of a target's run: which references it was made of, and how every method did."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_POSITIVE, _NEGATIVE, _NEUTRAL, _CONTROL, _CHOSEN = "#1b7837", "#b2182b", "#7f8c9b", "#c9ced6", "#2166ac"
_CONTROLS = frozenset({"random", "permuted"})


@dataclass(frozen=True, slots=True)
class Bar:
    """One method's value with its interval."""

    method: str
    value: float
    low: float
    high: float


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)


def png_of(chart: Figure) -> bytes:
    """The chart as a PNG file, in the resolution in which all are kept."""
    file = io.BytesIO()
    chart.savefig(file, format="png", dpi=120)
    return file.getvalue()


def weights_chart(target: str, weights: Mapping[str, float], *, coverage: float) -> Figure:
    """Bars of the non-zero weights, largest magnitude first."""
    support = sorted(
        ((name, weight) for name, weight in weights.items() if weight != 0), key=lambda pair: -abs(pair[1])
    )
    figure = Figure(figsize=(7, 1.2 + 0.34 * max(1, len(support))), layout="constrained")
    axes = figure.subplots()
    positions = range(len(support))
    axes.barh(positions, [w for _, w in support], color=[_POSITIVE if w > 0 else _NEGATIVE for _, w in support])
    axes.set_yticks(positions, [name for name, _ in support])
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.bar_label(axes.containers[0], fmt="%+.2f", padding=3, fontsize=8)  # type: ignore[arg-type]
    axes.margins(x=0.15)
    axes.set_xlabel("weight in the blend")
    axes.set_title(f"{target}: {len(support)} of {len(weights)} neighbours, coverage {coverage:.2f}", loc="left")
    _plain(axes)
    return figure


def _colour(method: str) -> str:
    if method == "chosen":
        return _CHOSEN
    return _CONTROL if method in _CONTROLS else _NEUTRAL


def methods_chart(target: str, bars: Sequence[Bar], *, metric: str, direction: str, n: int, level: float) -> Figure:
    """Every method's metric with its bootstrap interval; the chosen one in colour, controls pale, base as a line."""
    figure = Figure(figsize=(7, 1.4 + 0.32 * len(bars)), layout="constrained")
    axes = figure.subplots()
    positions = range(len(bars))
    errors = [[bar.value - bar.low for bar in bars], [bar.high - bar.value for bar in bars]]
    axes.barh(
        positions,
        [bar.value for bar in bars],
        xerr=errors,
        color=[_colour(bar.method) for bar in bars],
        error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#333333"},
    )
    axes.set_yticks(positions, [bar.method for bar in bars])
    axes.invert_yaxis()
    for bar in bars:
        if bar.method == "base":
            axes.axvline(bar.value, color="black", linewidth=0.8, linestyle="--")
    axes.set_xlabel(f"{metric} ({direction} is better), {level:.0%} bootstrap interval over {n} samples")
    axes.set_title(f"{target}: every method through the same blend", loc="left")
    _plain(axes)
    return figure


def rules_chart(rules: Sequence[Mapping[str, Any]], *, says: str) -> Figure:
    """Every audited rule's mean gain over the base on references left out (dark) and on pools of two (pale)."""
    figure = Figure(figsize=(7, 1.6 + 0.36 * len(rules)), layout="constrained")
    axes = figure.subplots()
    positions = range(len(rules))
    for key, offset, colour, label in (
        ("left_out", -0.2, _CHOSEN, "references left out"),
        ("pools", 0.2, _CONTROL, "pools of two"),
    ):
        values = [row[key] if row[key] is not None else 0.0 for row in rules]
        axes.barh([place + offset for place in positions], values, height=0.38, color=colour, label=label)
    axes.set_yticks(positions, [row["rule"] for row in rules])
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("mean gain over the base model, in the metric's unit")
    axes.set_title(textwrap.fill(says, 95), loc="left", fontsize=9)
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    _plain(axes)
    return figure
