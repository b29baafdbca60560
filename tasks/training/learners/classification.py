"""Image classification: columns `image` or `pixel_values`, and `label`."""

from dataclasses import dataclass

import pyarrow as pa
import torch
from torch.nn import functional

from tasks.evaluation.examiners.classification import resident_classifier
from tasks.evaluation.examiners.table import read_columns, read_images
from tasks.training.job import TrainingJob


@dataclass(frozen=True, slots=True)
class ClassificationLearner:
    """pixel_values (n, c, h, w) and labels (n,)."""

    base: torch.nn.Module
    pixel_values: torch.Tensor
    labels: torch.Tensor

    @property
    def targets(self) -> list[str]:
        """ViT's attention and its classifier."""
        return ["q_proj", "k_proj", "v_proj", "o_proj", "classifier"]

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.labels)

    def losses(self, model: torch.nn.Module, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Cross-entropy."""
        device = next(model.parameters()).device
        logits = model(pixel_values=self.pixel_values[rows].to(device)).logits
        return functional.cross_entropy(logits, self.labels[rows].to(device), reduction="none")


def open_classification(job: TrainingJob) -> ClassificationLearner:
    """Load the base, once per process, and the rows. Raises InvalidInput for missing columns."""
    base = resident_classifier(job.base.path, job.base.digest, job.device)
    table = read_columns(job.samples, required=("label",))
    labels = torch.from_numpy(table["label"].cast(pa.int64()).to_numpy().copy())
    return ClassificationLearner(base, read_images(table, job.base, job.samples), labels)
