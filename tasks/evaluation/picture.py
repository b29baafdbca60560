"""The picture people look at first: a few samples, what is true, and what the methods make of them."""

from collections.abc import Sequence
from textwrap import shorten, wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.evaluation.scores import Shape, Shown

COMPARED = ("base", "nearest", "chosen", "ceiling")
_GOOD, _BAD = "#1b7837", "#b2182b"
_WIDEST_TEXT = 160  # characters


def _show(axes: Axes, value: Shape, colour: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if isinstance(value, np.ndarray):
        axes.imshow(value, cmap="gray" if value.ndim == 2 else None, interpolation="nearest")
        return
    text = "\n".join(wrap(shorten(value, _WIDEST_TEXT, placeholder=" ..."), 24))
    size = 16 if len(text) < 12 else 7
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=size, color=colour, transform=axes.transAxes)


def _verdict(answer: Shape, truth: Shape) -> str:
    if isinstance(answer, str) and isinstance(truth, str) and len(truth) < 24:
        return _GOOD if answer == truth else _BAD
    return "black"


def samples_picture(target: str, shown: Sequence[Shown]) -> Figure:
    """A row per sample: the input, the truth, and the answers of base, nearest, chosen and ceiling where they exist."""
    methods = [method for method in COMPARED if method in shown[0].answers]
    columns = ["input", "truth", *methods]
    figure = Figure(figsize=(1.5 * len(columns), 0.5 + 1.25 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), len(columns), squeeze=False)
    for row, sample in enumerate(shown):
        _show(grid[row][0], sample.sample, "black")
        _show(grid[row][1], sample.truth, "black")
        for column, method in enumerate(methods, start=2):
            _show(grid[row][column], sample.answers[method], _verdict(sample.answers[method], sample.truth))
    for axes, title in zip(grid[0], columns, strict=True):
        axes.set_title(title, fontsize=10)
    figure.suptitle(target, fontsize=11)
    return figure
