"""A Segment Anything Model of about 150,000 parameters, with its image processor."""

from pathlib import Path

from transformers import SamModel

from tasks.examples.models import sam_of, save_sam
from tasks.examples.segmentation.pages import CONTRAST, SIDE


def untrained_sam() -> SamModel:
    """A fresh model for one page."""
    return sam_of(side=SIDE, width=48, layers=2, channels=32)


def save(model: SamModel, directory: Path) -> None:
    """Save it with a processor that makes the ink's contrast two, as in -1 to 1."""
    save_sam(model, directory, side=SIDE, mean=0.5, deviation=CONTRAST / 2)
