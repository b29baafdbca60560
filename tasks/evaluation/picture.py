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
_MEANINGS = {
    "base": "base: the model alone",
    "nearest": "nearest: the most similar reference's adapter",
    "chosen": "chosen: the composed adapter",
    "ceiling": "ceiling: an adapter trained on this target's own labels",
}


def _show(axes: Axes, value: Shape, colour: str, size: int) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if isinstance(value, np.ndarray):
        axes.imshow(value, cmap="gray" if value.ndim == 2 else None, interpolation="nearest")
        return
    text = "\n".join(wrap(shorten(value, _WIDEST_TEXT, placeholder=" ..."), 24))
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=size, color=colour, transform=axes.transAxes)


def _verdict(answer: Shape, truth: Shape) -> str:
    if isinstance(answer, str) and isinstance(truth, str) and len(truth) < 24:
        return _GOOD if answer == truth else _BAD
    return "black"


def _text_size(shown: Sequence[Shown]) -> int:
    """Names of classes large, sentences small; one size for a picture, or a short answer would look like a loud one."""
    texts = [value for one in shown for value in (one.truth, *one.answers.values()) if isinstance(value, str)]
    return 16 if all(len(text) < 12 for text in texts) else 7


def samples_picture(target: str, shown: Sequence[Shown]) -> Figure:
    """A row per sample: the input, the truth, and the answers of base, nearest, chosen and ceiling where they exist."""
    methods = [method for method in COMPARED if method in shown[0].answers]
    columns = ["input", "truth", *methods]
    figure = Figure(figsize=(1.5 * len(columns), 0.5 + 1.25 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), len(columns), squeeze=False)
    size = _text_size(shown)
    for row, sample in enumerate(shown):
        _show(grid[row][0], sample.sample, "black", size)
        _show(grid[row][1], sample.truth, "black", size)
        for column, method in enumerate(methods, start=2):
            _show(grid[row][column], sample.answers[method], _verdict(sample.answers[method], sample.truth), size)
    for axes, title in zip(grid[0], columns, strict=True):
        axes.set_title(title, fontsize=10)
    figure.suptitle(target, fontsize=11)
    figure.supxlabel("\n".join(wrap("; ".join(_MEANINGS[method] for method in methods), 100)), fontsize=7)
    return figure
