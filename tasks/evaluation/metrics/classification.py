"""Accuracy of single samples, by torchmetrics."""

import numpy as np
import torch
from torchmetrics.functional.classification import multiclass_accuracy

from tasks.evaluation.scores import Direction, Metric

ACCURACY = Metric("accuracy", Direction.HIGHER, "share of samples")


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """1.0 where the largest of `logits` (n, classes) is at `labels` (n,), else 0.0; float64 (n,).

    Raises ValueError for a label that is no class.
    """
    classes = logits.shape[1]
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(
            f"labels range from {int(labels.min())} to {int(labels.max())}, the model has {classes} classes"
        )
    # A further dimension of one makes `samplewise` give one value a sample; `micro` counts it, whatever its class.
    hits = multiclass_accuracy(
        logits.argmax(dim=1)[:, None],
        labels[:, None],
        num_classes=classes,
        average="micro",
        multidim_average="samplewise",
    )
    return hits.double().cpu().numpy()
