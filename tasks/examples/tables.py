"""Parquet files of images as PNG bytes."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def png(pixels: np.ndarray) -> bytes:
    """An image (h, w) or (h, w, 3), grey or colour values in 0..1, as the bytes of a PNG file."""
    target = io.BytesIO()
    Image.fromarray((pixels * 255).round().astype(np.uint8)).save(target, "PNG")
    return target.getvalue()


def write_columns(columns: Mapping[str, Sequence[bytes] | Sequence[str]], path: Path) -> None:
    """Write the columns, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path, compression="zstd")
