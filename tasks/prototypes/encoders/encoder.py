"""What every encoder can do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Item:
    """One sample ready for the model: its tensor, and its length in tokens, which batches are planned by."""

    value: Tensor
    length: int


class Encoder(Protocol):
    """A model resident in this process. `read` and `collate` run on a reader thread, `encode` on the device."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The sample columns it reads, the preferred first."""
        ...

    def read(self, batch: pa.RecordBatch) -> list[Item]:
        """Items of the rows of `batch`, which has at least one of `columns`. Raises ValueError naming a bad row."""
        ...

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """The model's inputs for one batch, on the CPU."""
        ...

    def encode(self, inputs: dict[str, Tensor]) -> Tensor:
        """Embeddings of a batch whose tensors are on the device: (n, d) float32."""
        ...
