"""Overlap and boundary distance of single masks, by MONAI."""

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou

from tasks.evaluation.scores import Direction, Metric

DICE = Metric("dice", Direction.HIGHER, "overlap, 0 to 1")
IOU = Metric("iou", Direction.HIGHER, "overlap, 0 to 1")
HD95 = Metric("hd95", Direction.LOWER, "pixels")


def mask_values(predicted: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Dice, IoU and 95 % Hausdorff distance of one mask (h, w) against the truth, both boolean.

    Two empty masks agree wholly. Where just one of them is empty there is no distance, and the image's diagonal, the
    worst there could be, stands for it.
    """
    first, second = predicted[None, None].float(), truth[None, None].float()
    empty = (not bool(predicted.any()), not bool(truth.any()))
    if any(empty):
        same = all(empty)
        return {DICE.name: float(same), IOU.name: float(same), HD95.name: 0.0 if same else _diagonal(truth)}
    distance = compute_hausdorff_distance(first, second, include_background=True, percentile=95)
    return {
        DICE.name: float(compute_dice(first, second)),
        IOU.name: float(compute_iou(first, second)),
        HD95.name: float(distance),
    }


def _diagonal(mask: torch.Tensor) -> float:
    return float(np.hypot(*mask.shape))
