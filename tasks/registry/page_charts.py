"""Charts of the explanation page as inline SVG. Pure functions of numbers."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_WIDTH, _LABEL, _ROW, _TICK = 640, 150, 22, 36
_POSITIVE, _NEGATIVE, _NEUTRAL, _CONTROL, _CHOSEN = "#1b7837", "#b2182b", "#9aa7b5", "#d5dbe1", "#2166ac"
_LINES = ("#2166ac", "#b2182b", "#1b7837", "#b26b18", "#6a3d9a", "#12827c", "#d6604d", "#5b6b7c")
_CONTROLS = frozenset({"random", "permuted"})


def number(value: float | None, form: str) -> str:
    """A number as it is read, with its full value beside it for whoever checks; a dash where there is none."""
    return "&ndash;" if value is None else f'<data value="{value!r}">{value:{form}}</data>'


def _text(x: float, y: float, text: str, *, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="13" fill="#1c2733">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool) -> str:
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dash}/>'


def _svg(height: float, parts: Sequence[str], label: str) -> str:
    box = f'width="{_WIDTH}" height="{height:.0f}" viewBox="0 0 {_WIDTH} {height:.0f}"'
    return f'<svg {box} role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def weight_bars(weights: Mapping[str, float]) -> str:
    """Bars of weights about zero, in the order given."""
    largest = max((abs(weight) for weight in weights.values()), default=0.0) or 1.0
    low = min([0.0, *weights.values()]) / largest
    high = max([0.0, *weights.values()]) / largest
    scale = (_WIDTH - _LABEL - 20) / (high - low or 1.0)
    zero = _LABEL - low * scale
    parts = []
    for row, (name, weight) in enumerate(weights.items()):
        end, y = zero + weight / largest * scale, row * _ROW
        colour = _POSITIVE if weight > 0 else _NEGATIVE
        bar = f'<rect x="{min(zero, end):.1f}" y="{y + 4}" width="{abs(end - zero):.1f}" height="14" fill="{colour}"/>'
        parts += [_text(_LABEL - 8, y + 16, name, anchor="end"), bar]
    height = _ROW * max(1, len(weights))
    return _svg(height, [*parts, _line(zero, 0, zero, height, "#1c2733", dashed=False)], "weights")


def interval_bars(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """A dot with its interval for every method, with its value beside it."""
    low = min(one["low"] for one in scores.values())
    span = max(one["high"] for one in scores.values()) - low or 1.0
    right = _WIDTH - 70

    def x(value: float) -> float:
        return _LABEL + (value - low) / span * (right - _LABEL)

    parts = []
    for row, (method, one) in enumerate(scores.items()):
        y = row * _ROW + 11
        colour = _CHOSEN if method == "chosen" else _CONTROL if method in _CONTROLS else _NEUTRAL
        parts += [
            _text(_LABEL - 12, y + 5, method.replace("_", " "), anchor="end"),
            _line(x(one["low"]), y, x(one["high"]), y, colour, dashed=False),
            f'<circle cx="{x(one["value"]):.1f}" cy="{y}" r="5" fill="{colour}"/>',
            _text(right + 12, y + 5, f"{one['value']:.3f}", anchor="start"),
        ]
    return _svg(_ROW * len(scores), parts, "scores with intervals")


def path_chart(path: Sequence[Mapping[str, Any]], *, chosen: float) -> str:
    """Weights against the penalty on a logarithmic axis, penalty zero at its left end."""
    smallest = min(one["penalty"] for one in path if one["penalty"] > 0)
    places = [math.log(max(one["penalty"], smallest / 3)) for one in path]
    values = [weight for one in path for weight in one["weights"].values()]
    low, high = min([0.0, *values]), max([0.0, *values])
    width, height, left, right = places[-1] - places[0] or 1.0, 220, 40, _WIDTH - 130

    def at(place: float, weight: float) -> tuple[float, float]:
        x = left + (place - places[0]) / width * (right - left)
        return x, 10 + (high - weight) / (high - low or 1.0) * height

    names = list(dict.fromkeys(name for one in path for name in one["weights"]))
    parts = [_line(*at(places[0], 0.0), *at(places[-1], 0.0), "#d5dbe1", dashed=False)]
    taken: list[float] = []
    for row, name in enumerate(names):
        points = [at(place, one["weights"].get(name, 0.0)) for place, one in zip(places, path, strict=True)]
        colour = _LINES[row % len(_LINES)]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = _free(points[-1][1] + 4, taken)
        taken.append(y)
        parts.append(_text(right + 8, y, name, anchor="start"))
        parts.append(_line(right, points[-1][1], right + 6, y - 4, colour, dashed=False))
    here = at(math.log(max(chosen, smallest / 3)), high)[0]
    parts.append(_line(here, 10, here, 10 + height, "#1c2733", dashed=True))
    ticks: list[float] = []
    for place, one in zip(places, path, strict=True):
        x = at(place, 0)[0]
        if all(abs(x - other) >= _TICK for other in ticks):
            parts.append(_text(x, height + 28, f"{one['penalty']:g}", anchor="middle"))
            ticks.append(x)
    return _svg(max([height + 36, *(y + 8 for y in taken)]), parts, "weights by penalty")


def _free(wanted: float, taken: Sequence[float]) -> float:
    """The nearest height at or below `wanted` where a label meets none of those `taken`."""
    y = wanted
    while any(abs(y - other) < 14 for other in taken):
        y += 2
    return y
