"""Reading evaluation sets: the same files and columns as sample sets, and the truth beside them."""

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from transformers import AutoImageProcessor

from tasks.files import InvalidInput, Problem
from tasks.library.base_model import BaseModel
from tasks.library.families import IMAGE, PIXEL_VALUES
from tasks.library.samples import iter_samples

_BATCH_ROWS = 1024


def read_columns(uri: str, *, required: Sequence[str]) -> pa.Table:
    """The whole evaluation set, which is small by nature. Raises InvalidInput when a column or every row is missing."""
    batches = list(iter_samples(uri, columns=None, batch_rows=_BATCH_ROWS))
    if not batches:
        raise InvalidInput(Problem(uri, "it has no rows", "give labelled samples or leave `evaluation` out"))
    table = pa.Table.from_batches(batches).combine_chunks()
    missing = [name for name in required if name not in table.column_names]
    if missing:
        what = f"it has columns {', '.join(table.column_names)} and no {', '.join(missing)}"
        raise InvalidInput(Problem(uri, what, "add the column, or leave `evaluation` out"))
    return table


def read_images(table: pa.Table, base: BaseModel, uri: str) -> torch.Tensor:
    """Model inputs (n, c, h, w) from flattened `pixel_values`, or from `image` bytes by the model's own processor."""
    if PIXEL_VALUES in table.column_names:
        return _flat_pixels(table[PIXEL_VALUES].combine_chunks(), pixel_shape(base), uri)
    if IMAGE not in table.column_names:
        raise InvalidInput(Problem(uri, f"it has no column {PIXEL_VALUES} or {IMAGE}", "add one of them"))
    images = [decoded(value) for value in table[IMAGE].to_pylist()]
    processor = AutoImageProcessor.from_pretrained(base.path, local_files_only=True)
    pixels: torch.Tensor = processor(images=images, return_tensors="pt")[PIXEL_VALUES]
    return pixels


def decoded(value: bytes | dict[str, bytes]) -> Image.Image:
    """An RGB image from its file's bytes, bare or in the `datasets` form {"bytes": ...}."""
    content = value["bytes"] if isinstance(value, dict) else value
    return Image.open(io.BytesIO(content)).convert("RGB")


def pixel_shape(base: BaseModel) -> tuple[int, int, int]:
    """Channels, height and width of the model's input, from its config."""
    config = base.config()
    config = config.get("vision_config", config)
    size = config["image_size"]
    height, width = (size, size) if isinstance(size, int) else size
    return int(config.get("num_channels", 3)), int(height), int(width)


def evenly_spaced(count: int, wanted: int) -> tuple[int, ...]:
    """`wanted` rows of `count`, first and last among them; all rows where there are fewer."""
    return tuple(int(row) for row in np.unique(np.linspace(0, count - 1, min(count, wanted)).round()))


def _flat_pixels(column: pa.ListArray, shape: tuple[int, int, int], uri: str) -> torch.Tensor:
    expected = int(np.prod(shape))
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    if not (lengths == expected).all():
        wrong = f"{PIXEL_VALUES} has {int(lengths[lengths != expected][0])} values in a row, the model takes {expected}"
        raise InvalidInput(Problem(uri, wrong, f"store the model's input {shape}, flattened channel first"))
    values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return torch.from_numpy(values.reshape(-1, *shape))


def picture(pixels: torch.Tensor) -> np.ndarray:
    """Pixels (c, h, w) of any range as an image (h, w) or (h, w, 3) in 0..1."""
    low, high = pixels.min(), pixels.max()
    scaled: np.ndarray = ((pixels - low) / (high - low).clamp(min=1e-12)).numpy()
    return scaled[0] if len(scaled) == 1 else scaled[:3].transpose(1, 2, 0)
