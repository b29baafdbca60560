"""Segmentation: `SamModel` with a full-image box; Dice, IoU and 95 % Hausdorff distance in the image's own pixels."""

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tasks.evaluation.examiners.setting import Setting
from tasks.evaluation.examiners.table import evenly_spaced, picture, read_columns, read_images
from tasks.evaluation.metrics.segmentation import DICE, HD95, IOU, mask_values
from tasks.evaluation.models.segmentation import framed_size, load_sam, mask_logits, out_of_frame
from tasks.evaluation.scores import Examination, Metric, Shape

_TINT = np.array([0.9, 0.2, 0.1])
_OPACITY = 0.5


@dataclass(frozen=True, slots=True)
class SegmentationExaminer:
    """pixel_values (n, 3, side, side) in SAM's frame; masks (h, w) boolean in each image's own size."""

    base: torch.nn.Module
    pixel_values: torch.Tensor
    masks: tuple[torch.Tensor, ...]
    batch_size: int
    rows: tuple[int, ...]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Dice decides."""
        return DICE, IOU, HD95

    @property
    def shown(self) -> tuple[tuple[Shape, Shape], ...]:
        """Images, and the true masks laid over them."""
        return tuple((self._image(row), overlay(self._image(row), self.masks[row].numpy())) for row in self.rows)

    def examine(self, model: torch.nn.Module) -> Examination:
        """Metrics of each image; predicted masks over the shown ones."""
        device = next(model.parameters()).device
        with torch.inference_mode():
            parts = [mask_logits(model, part.to(device)).cpu() for part in self.pixel_values.split(self.batch_size)]
        logits = torch.cat(parts)
        predicted = [
            out_of_frame(row, (mask.shape[0], mask.shape[1])) > 0 for row, mask in zip(logits, self.masks, strict=True)
        ]
        values = [mask_values(ours, truth) for ours, truth in zip(predicted, self.masks, strict=True)]
        answers = tuple(overlay(self._image(row), predicted[row].numpy()) for row in self.rows)
        return Examination({m.name: np.array([value[m.name] for value in values]) for m in self.metrics}, answers)

    def _image(self, row: int) -> np.ndarray:
        """The image (h, w, 3) in 0..1 as it lies in the frame, in its own size."""
        size = self.masks[row].shape
        height, width = framed_size(size[0], size[1], self.pixel_values.shape[-1])
        shown = picture(self.pixel_values[row, :, :height, :width])
        return np.asarray(Image.fromarray((shown * 255).astype(np.uint8)).resize((size[1], size[0]))) / 255.0


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image (h, w, 3) with the mask (h, w) laid over it in a colour."""
    return np.where(mask[..., None], (1 - _OPACITY) * image + _OPACITY * _TINT, image)


def decoded_mask(value: bytes | dict[str, bytes]) -> torch.Tensor:
    """A boolean mask (h, w) from an image file's bytes; every pixel that is not black is the object."""
    content = value["bytes"] if isinstance(value, dict) else value
    return torch.from_numpy(np.asarray(Image.open(io.BytesIO(content)).convert("L")) > 0)


def open_segmentation(setting: Setting) -> SegmentationExaminer:
    """Load the base, once per process, and the evaluation set. Raises InvalidInput for missing columns."""
    base = resident_sam(setting.base.path, setting.base.digest, setting.device)
    table = read_columns(setting.evaluation, required=("mask",))
    masks = tuple(decoded_mask(value) for value in table["mask"].to_pylist())
    return SegmentationExaminer(
        base=base,
        pixel_values=read_images(table, setting.base, setting.evaluation),
        masks=masks,
        batch_size=setting.batch_size,
        rows=evenly_spaced(len(masks), setting.shown),
    )


@cache
def resident_sam(path: Path, digest: str, device: str) -> Any:
    """SAM, loaded once per process; the digest is in the key, since a base changed on disk is another base."""
    return load_sam(path, device)
