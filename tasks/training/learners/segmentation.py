"""SAM on images and masks: columns `image` or `pixel_values`, and `mask`."""

from dataclasses import dataclass

import torch

from tasks.evaluation.examiners.segmentation import decoded_mask, resident_sam
from tasks.evaluation.examiners.table import read_columns, read_images
from tasks.evaluation.models.segmentation import ATTENTION, into_frame, mask_logits, mask_losses
from tasks.training.job import TrainingJob


@dataclass(frozen=True, slots=True)
class SegmentationLearner:
    """pixel_values (n, 3, side, side) and framed masks (n, side, side)."""

    base: torch.nn.Module
    pixel_values: torch.Tensor
    framed: torch.Tensor

    @property
    def targets(self) -> str:
        """The image encoder's attention."""
        return ATTENTION

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.framed)

    def losses(self, model: torch.nn.Module, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Cross-entropy plus soft Dice; half of the images are mirrored."""
        device = next(model.parameters()).device
        pixels, framed = self.pixel_values[rows].to(device), self.framed[rows].to(device)
        flip = (torch.rand(len(rows), generator=generator) < 0.5).to(device)
        # A frame is padded on the right, so only images that fill it can be mirrored.
        flip &= framed[:, 0, -1] >= 0
        pixels = torch.where(flip[:, None, None, None], pixels.flip(-1), pixels)
        framed = torch.where(flip[:, None, None], framed.flip(-1), framed)
        return mask_losses(mask_logits(model, pixels), framed)


def open_segmentation(job: TrainingJob) -> SegmentationLearner:
    """Load the base, once per process, and the rows. Raises InvalidInput for missing columns."""
    base = resident_sam(job.base.path, job.base.digest, job.device)
    table = read_columns(job.samples, required=("mask",))
    pixels = read_images(table, job.base, job.samples)
    masks = [into_frame(decoded_mask(value), pixels.shape[-1]) for value in table["mask"].to_pylist()]
    return SegmentationLearner(base, pixels, torch.stack(masks))
