"""Images through a vision encoder: the model's own ready pixels, or image files through its processor."""

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor

from tasks.library.families import IMAGE, PIXEL_VALUES
from tasks.prototypes.encoders.encoder import Item

_PATCH = 16  # pixels a side of one token where the model does not say; plans batches, changes no number


class VisionEncoder:
    """`embed` gives one embedding an image, (n, d), from pixel values (n, c, h, w)."""

    def __init__(
        self, embed: Callable[[Tensor], Tensor], *, config: Any, processor: Any | None, dtype: torch.dtype
    ) -> None:
        self._embed, self._processor, self._dtype = embed, processor, dtype
        self._channels = int(getattr(config, "num_channels", 3))
        self._size = _size(getattr(config, "image_size", None))
        patch = getattr(config, "patch_size", _PATCH)
        self._patch = patch if isinstance(patch, int) else _PATCH

    def read(self, batch: pa.RecordBatch) -> list[Item]:
        """Items of flattened `pixel_values`, or of encoded `image` files."""
        if PIXEL_VALUES in batch.schema.names:
            pixels = self._flat_pixels(batch.column(PIXEL_VALUES))
        elif IMAGE in batch.schema.names:
            pixels = self._decoded(batch.column(IMAGE))
        else:
            raise ValueError(f"the model sees images; samples have the columns {', '.join(batch.schema.names)}")
        tokens = max(1, pixels.shape[2] // self._patch) * max(1, pixels.shape[3] // self._patch)
        return [Item(image, tokens) for image in pixels]

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Pixel values (n, c, h, w)."""
        return {PIXEL_VALUES: torch.stack([item.value for item in items])}

    def encode(self, inputs: dict[str, Tensor]) -> Tensor:
        """Embeddings (n, d)."""
        return self._embed(inputs[PIXEL_VALUES].to(self._dtype))

    def _flat_pixels(self, column: pa.Array) -> Tensor:
        values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        per_row = len(values) // len(column)
        side = math.isqrt(per_row // self._channels)
        height, width = (side, side) if self._size is None else self._size
        shape = (self._channels, height, width)
        if len(values) != len(column) * math.prod(shape):
            raise ValueError(f"pixel_values must have {math.prod(shape)} values a row, the model's {list(shape)}")
        return torch.from_numpy(values).reshape(-1, *shape)

    def _decoded(self, column: pa.Array) -> Tensor:
        if self._processor is None:
            raise ValueError("the model has no image processor; give `pixel_values`, or save one beside the model")
        images = [_decode(value, row, self._channels) for row, value in enumerate(column.to_pylist())]
        pixels: Tensor = self._processor(images=images, return_tensors="pt")[PIXEL_VALUES]
        return pixels


def _size(image_size: Any) -> tuple[int, int] | None:
    if image_size is None:
        return None
    return (image_size, image_size) if isinstance(image_size, int) else (int(image_size[0]), int(image_size[1]))


def _decode(value: Any, row: int, channels: int) -> Image.Image:
    content = value["bytes"] if isinstance(value, dict) else value  # a struct is how `datasets` saves images
    try:
        return Image.open(io.BytesIO(content)).convert("L" if channels == 1 else "RGB")
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"image {row} of its batch cannot be decoded ({error})") from error
