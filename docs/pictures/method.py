"""Draws docs/pictures/path.png, the picture of docs/method.md: `python docs/pictures/method.py`."""

from pathlib import Path

import matplotlib
import numpy as np

from tasks.projection.lockstep import lockstep_weights
from tasks.projection.moments import moments_of
from tasks.projection.path import largest_penalties, paths
from tasks.projection.variants import Variant

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLOURS = ["#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5"]


def main() -> None:
    """A target a little outside the hull of eight references: weights and fit as the penalty falls."""
    rng = np.random.default_rng(4)
    atoms = rng.normal(size=(8, 12))
    target = atoms.T @ np.array([0.7, 0.5, 0.3, -0.2, -0.3, 0.0, 0.0, 0.0]) + 0.3 * rng.normal(size=12)
    moments = moments_of(atoms[None], target[None], variant=Variant.AFFINE)
    bar = largest_penalties(moments, variant=Variant.AFFINE)
    grid = bar[0] * np.geomspace(4.0, 1e-3, 400)
    along = paths(moments, ends=1e-3 * bar, variant=Variant.AFFINE, allowed=None).at(grid[None])[0]
    simplex = lockstep_weights(moments, penalty=bar, variant=Variant.SIMPLEX, allowed=None, device=None)[0]
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7.5, 5.6), sharex=True, height_ratios=(3, 1.3))
    for number, colour in enumerate(COLOURS):
        top.plot(grid / bar, along[:, number], color=colour, linewidth=1.8)
        top.plot(4.6, simplex[number], marker="o", markersize=5, color=colour, clip_on=False)
    top.axhline(0.0, color="#333333", linewidth=0.8)
    top.set_ylabel("weight of each reference")
    bottom.plot(grid / bar, np.abs(along).sum(axis=1), color="#333333", label=r"$\|w\|_1$")
    bottom.plot(
        grid / bar, (np.abs(along) > 1e-12).sum(axis=1) / 8.0, color="#888888", label="share of references used"
    )
    bottom.set_ylim(0.0)
    bottom.legend(frameon=False, loc="lower right")
    for axes in (top, bottom):
        axes.set_xscale("log")
        axes.invert_xaxis()
        axes.axvspan(1.0, 5.0, color="#f1efe9", zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
    bottom.invert_xaxis()
    top.set_xlim(5.0, 1e-3)
    top.text(4.5, 0.5, "inert: the\nsimplex\nprojection", fontsize=8, va="top")
    bottom.set_xlabel(r"penalty / $\bar\lambda$   (falling to the right; least squares at the far end)")
    top.set_title("Eq. 5 is a dial from the simplex projection to least squares", loc="left", fontsize=11)
    figure.tight_layout()
    figure.savefig(Path(__file__).with_name("path.png"), dpi=130)


if __name__ == "__main__":
    main()
