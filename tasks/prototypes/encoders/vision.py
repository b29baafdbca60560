"""Images through a vision encoder without its head: ViT and other models of transformers' Auto classes."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor, nn

from tasks.library.families import IMAGE, PIXEL_VALUES
from tasks.prototypes.encoders.encoder import Item

Pool = Callable[[Tensor], Tensor]


class VisionEncoder:
    """`states` gives the token states (n, t, d) of pixel values (n, c, h, w), `pool` makes one embedding of them."""

    columns = (PIXEL_VALUES, IMAGE)

    def __init__(
        self,
        states: Callable[[Tensor], Tensor],
        pool: Pool,
        *,
        shape: tuple[int, int, int],
        processor: Any | None,
        tokens: int,
        dtype: torch.dtype,
    ) -> None:
        self._states, self._pool = states, pool
        self._shape, self._processor, self._tokens, self._dtype = shape, processor, tokens, dtype

    def read(self, batch: pa.RecordBatch) -> list[Item]:
        """Items of flattened `pixel_values`, the model's own ready input, or of encoded `image` files."""
        if PIXEL_VALUES in batch.schema.names:
            pixels = self._flat_pixels(batch.column(PIXEL_VALUES))
        else:
            pixels = self._decoded(batch.column(IMAGE))
        return [Item(image, self._tokens) for image in pixels]

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Pixel values (n, c, h, w)."""
        return {PIXEL_VALUES: torch.stack([item.value for item in items])}

    def encode(self, inputs: dict[str, Tensor]) -> Tensor:
        """Embeddings (n, d)."""
        return self._pool(self._states(inputs[PIXEL_VALUES].to(self._dtype)))

    def _flat_pixels(self, column: pa.Array) -> Tensor:
        values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        expected = int(np.prod(self._shape))
        if len(values) != len(column) * expected:
            raise ValueError(f"pixel_values must have {expected} values a row, the model's {list(self._shape)}")
        return torch.from_numpy(values).reshape(-1, *self._shape)

    def _decoded(self, column: pa.Array) -> Tensor:
        if self._processor is None:
            raise ValueError("the model has no image processor; give `pixel_values`, or save one beside the model")
        images = [_decode(value, row, self._shape[0]) for row, value in enumerate(column.to_pylist())]
        pixels: Tensor = self._processor(images=images, return_tensors="pt")[PIXEL_VALUES]
        return pixels


def _decode(value: Any, row: int, channels: int) -> Image.Image:
    content = value["bytes"] if isinstance(value, dict) else value
    try:
        return Image.open(io.BytesIO(content)).convert("L" if channels == 1 else "RGB")
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"image {row} of its batch cannot be decoded ({error})") from error


def pixel_shape(config: Any) -> tuple[int, int, int]:
    """Channels, height and width that the model takes, from its configuration."""
    size = config.image_size
    height, width = (size, size) if isinstance(size, int) else (size[0], size[1])
    return int(config.num_channels), int(height), int(width)


def token_count(config: Any, shape: tuple[int, int, int]) -> int:
    """Tokens of one image, for planning batches: patches where the model has them, else sixteen pixels square."""
    patch = getattr(config, "patch_size", 16)
    side = patch if isinstance(patch, int) else 16
    return max(1, (shape[1] // side) * (shape[2] // side))


def last_states(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Token states of the model's last layer; a feature map (n, d, h, w) becomes (n, h * w, d)."""

    def states(pixels: Tensor) -> Tensor:
        hidden: Tensor = model(pixel_values=pixels).last_hidden_state
        return hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden

    return states
