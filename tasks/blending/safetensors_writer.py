"""A streaming safetensors writer: the header first, then each tensor at its place, so that none has to be kept."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import torch

from tasks.blending.safetensors_file import DTYPES

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def header_bytes(shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype, metadata: Mapping[str, str]) -> bytes:
    """Length prefix and JSON header of a file of tensors of one dtype, in the order given, padded to 8 bytes."""
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    for name, shape in shapes.items():
        end = start + math.prod(shape) * dtype.itemsize
        entries[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
        start = end
    raw = json.dumps(entries, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)  # tensors are aligned for readers that map the file
    return len(raw).to_bytes(8, "little") + raw


class SafetensorsWriter:
    """Write tensors of declared shapes, in any order and from any thread, each once. Leaving checks completeness."""

    def __init__(
        self, path: Path, shapes: Mapping[str, tuple[int, ...]], *, dtype: torch.dtype, metadata: Mapping[str, str]
    ) -> None:
        header = header_bytes(shapes, dtype, metadata)
        self._places: dict[str, tuple[int, tuple[int, ...]]] = {}
        start = len(header)
        for name, shape in shapes.items():
            self._places[name] = (start, shape)
            start += math.prod(shape) * dtype.itemsize
        self._dtype = dtype
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        _write_all(self._descriptor, torch.frombuffer(bytearray(header), dtype=torch.uint8), 0)

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Round to the file's dtype and write at the tensor's place."""
        start, shape = self._places.pop(name)
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)} and was declared as {shape}")
        data = tensor.detach().to("cpu", self._dtype).contiguous().reshape(-1).view(torch.uint8)
        _write_all(self._descriptor, data, start)

    def __enter__(self) -> "SafetensorsWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
        if error is None and self._places:
            raise ValueError(f"never written: {', '.join(self._places)}")


def _write_all(descriptor: int, data: torch.Tensor, start: int) -> None:
    view, done = data.numpy().data, 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done:], start + done)
