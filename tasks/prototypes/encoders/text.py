"""Texts through a transformer: tokenised without padding, padded on the right within a batch, one embedding each."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from tasks.library.families import TEXT
from tasks.prototypes.encoders.encoder import Item

Embed = Callable[[Tensor, Tensor | None], Tensor]


class TextEncoder:
    """`embed` gives embeddings (n, d) of token ids (n, t) and their mask (n, t), None where nothing is padded."""

    def __init__(self, tokenizer: Any, embed: Embed, *, max_tokens: int) -> None:
        self._tokenizer, self._embed = tokenizer, embed
        # A tokenizer that knows no limit says 10^30.
        self._max_tokens = min(max_tokens, tokenizer.model_max_length)
        self._padding = tokenizer.pad_token_id or 0

    def read(self, batch: pa.RecordBatch) -> list[Item]:
        """Token ids of the `text` column, cut to the longest that is allowed."""
        if TEXT not in batch.schema.names:
            raise ValueError(f"the model reads text; samples have the columns {', '.join(batch.schema.names)}")
        texts = batch.column(TEXT).to_pylist()
        rows = self._tokenizer(texts, truncation=True, max_length=self._max_tokens, return_attention_mask=False)
        items = [Item(np.asarray(ids, np.int64), len(ids)) for ids in rows["input_ids"]]
        empty = next((row for row, item in enumerate(items) if item.length == 0), None)
        if empty is not None:
            raise ValueError(f"text {empty} of its batch has no token")
        return items

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Ids padded on the right; a mask only where something is padded."""
        lengths = np.array([item.length for item in items])
        ids = np.full((len(items), lengths.max()), self._padding, np.int64)
        for row, item in zip(ids, items, strict=True):
            row[: item.length] = item.value
        inputs = {"input_ids": torch.from_numpy(ids)}
        if lengths.min() < lengths.max():
            mask = np.arange(lengths.max()) < lengths[:, None]
            inputs["attention_mask"] = torch.from_numpy(mask.astype(np.int64))
        return inputs

    def encode(self, inputs: dict[str, Tensor]) -> Tensor:
        """Embeddings (n, d)."""
        return self._embed(inputs["input_ids"], inputs.get("attention_mask"))
