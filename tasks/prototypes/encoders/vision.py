"""Images through a vision encoder: the model's own ready pixels, or image files through its processor."""

import io
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
        self._tokens_of_files: int | None = None  # the processor gives all files one size

    def read(self, batch: pa.RecordBatch) -> list[Item]:
        """Items of flattened `pixel_values`, or of `image` files, which stay encoded until they are collated."""
        if PIXEL_VALUES in batch.schema.names:
            pixels = self._flat_pixels(batch.column(PIXEL_VALUES))
            return [Item(image, self._tokens(image)) for image in pixels]
        if IMAGE not in batch.schema.names:
            raise ValueError(f"the model sees images; samples have the columns {', '.join(batch.schema.names)}")
        files = [_File(row, content) for row, content in enumerate(batch.column(IMAGE).to_pylist())]
        if self._tokens_of_files is None and files:
            self._tokens_of_files = self._tokens(self._pixels(files[0]))
        return [Item(file, self._tokens_of_files or 1) for file in files]

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Pixel values (n, c, h, w); files are decoded here, a batch of them at a time and on all threads."""
        return {PIXEL_VALUES: torch.stack(_on_threads(self._pixels, [item.value for item in items]))}

    def encode(self, inputs: dict[str, Tensor]) -> Tensor:
        """Embeddings (n, d)."""
        return self._embed(inputs[PIXEL_VALUES].to(self._dtype))

    def _tokens(self, pixels: Tensor) -> int:
        return max(1, pixels.shape[1] // self._patch) * max(1, pixels.shape[2] // self._patch)

    def _flat_pixels(self, column: pa.Array) -> Tensor:
        values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        per_row = len(values) // len(column)
        side = math.isqrt(per_row // self._channels)
        height, width = (side, side) if self._size is None else self._size
        shape = (self._channels, height, width)
        if len(values) != len(column) * math.prod(shape):
            raise ValueError(f"pixel_values must have {math.prod(shape)} values a row, the model's {list(shape)}")
        return torch.from_numpy(values).reshape(-1, *shape)

    def _pixels(self, image: "Tensor | _File") -> Tensor:
        """Pixel values (c, h, w)."""
        if isinstance(image, Tensor):
            return image
        if self._processor is None:
            raise ValueError("the model has no image processor; give `pixel_values`, or save one beside the model")
        decoded = _decode(image, self._channels)
        pixels: Tensor = self._processor(images=[decoded], return_tensors="pt")[PIXEL_VALUES][0]
        return pixels


@dataclass(frozen=True, slots=True)
class _File:
    """An encoded image and its row in the batch that it was read with."""

    row: int
    content: Any


def _on_threads(work: Callable[[Any], Tensor], images: Sequence[Any]) -> list[Tensor]:
    """The work on every image, in their order; decoding and resizing run outside of Python's lock."""
    threads = min(torch.get_num_threads(), len(images))
    if threads == 1:
        return [work(image) for image in images]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, images))


def _size(image_size: Any) -> tuple[int, int] | None:
    if image_size is None:
        return None
    return (image_size, image_size) if isinstance(image_size, int) else (int(image_size[0]), int(image_size[1]))


def _decode(file: _File, channels: int) -> Image.Image:
    content = file.content["bytes"] if isinstance(file.content, dict) else file.content  # as `datasets` saves images
    try:
        return Image.open(io.BytesIO(content)).convert("L" if channels == 1 else "RGB")
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"image {file.row} of its batch cannot be decoded ({error})") from error
