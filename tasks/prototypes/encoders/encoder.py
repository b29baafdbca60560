"""What every encoder can do."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import pyarrow as pa
from torch import Tensor

from tasks.library.families import IMAGE, PIXEL_VALUES, TEXT


class Modality(StrEnum):
    """What the samples are; a model of two modalities has an encoder for each."""

    TEXT = "text"
    VISION = "vision"


def modality_of(columns: Sequence[str]) -> Modality:
    """Images where the samples have them, else text. Raises ValueError where they have neither."""
    if PIXEL_VALUES in columns or IMAGE in columns:
        return Modality.VISION
    if TEXT in columns:
        return Modality.TEXT
    raise ValueError(f"samples have the columns {', '.join(columns)}; one must be {PIXEL_VALUES}, {IMAGE} or {TEXT}")


@dataclass(frozen=True, slots=True)
class Item:
    """One sample ready for the model, and its length in tokens, which batches are planned by."""

    value: Any
    length: int


class Encoder(Protocol):
    """A model resident in this process. `read` and `collate` run on a reader thread, `encode` on the device."""

    def read(self, batch: pa.RecordBatch) -> list[Item]:
        """Items of the rows of `batch`. Raises ValueError naming a bad row."""
        ...

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """The model's inputs for one batch, on the CPU."""
        ...

    def encode(self, inputs: dict[str, Tensor]) -> Tensor:
        """Embeddings of a batch whose tensors are on the device: (n, d) float32."""
        ...
