"""Image classification: `AutoModelForImageClassification`, accuracy."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from transformers import AutoModelForImageClassification

from tasks.evaluation.examiners.setting import Setting
from tasks.evaluation.examiners.table import evenly_spaced, picture, read_columns, read_images
from tasks.evaluation.metrics.classification import ACCURACY, accuracy
from tasks.evaluation.scores import Examination, Metric, Shape


@dataclass(frozen=True, slots=True)
class ClassificationExaminer:
    """pixel_values (n, c, h, w) and labels (n,) on the CPU; batches move to the base's device."""

    base: torch.nn.Module
    pixel_values: torch.Tensor
    labels: torch.Tensor
    names: dict[Any, str]
    batch_size: int
    rows: tuple[int, ...]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Accuracy."""
        return (ACCURACY,)

    @property
    def shown(self) -> tuple[tuple[Shape, Shape], ...]:
        """The images in 0..1 with the names of their classes."""
        return tuple((picture(self.pixel_values[row]), self._name(int(self.labels[row]))) for row in self.rows)

    def examine(self, model: torch.nn.Module) -> Examination:
        """Accuracy of each sample, and the class each shown sample is taken for."""
        device = next(model.parameters()).device
        with torch.inference_mode():
            logits = torch.cat(
                [model(pixel_values=part.to(device)).logits.cpu() for part in self.pixel_values.split(self.batch_size)]
            )
        answers = tuple(self._name(int(logits[row].argmax())) for row in self.rows)
        return Examination({ACCURACY.name: accuracy(logits.float(), self.labels)}, answers)

    def _name(self, label: int) -> str:
        name = self.names.get(label, str(label))
        return str(label) if name == f"LABEL_{label}" else name


def open_classification(setting: Setting) -> ClassificationExaminer:
    """Load the base, once per process, and the evaluation set. Raises InvalidInput for missing columns."""
    base = resident_classifier(setting.base.path, setting.base.digest, setting.device)
    table = read_columns(setting.evaluation, required=("label",))
    labels = torch.from_numpy(table["label"].cast(pa.int64()).to_numpy().copy())
    return ClassificationExaminer(
        base=base,
        pixel_values=read_images(table, setting.base, setting.evaluation),
        labels=labels,
        names=dict(base.config.id2label or {}),
        batch_size=setting.batch_size,
        rows=evenly_spaced(len(labels), setting.shown),
    )


@cache
def resident_classifier(path: Path, digest: str, device: str) -> Any:
    """The model, loaded once per process; the digest is in the key, since a base changed on disk is another base."""
    model: Any = AutoModelForImageClassification.from_pretrained(path, local_files_only=True, use_safetensors=True)
    return model.eval().to(device)
