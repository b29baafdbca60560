"""A strict safetensors reader: the header is checked before anything is believed, tensors come by `pread` on demand.

The format is 8 bytes of little-endian header length, a JSON header, and the data
(https://github.com/huggingface/safetensors#format). Reading by `pread` keeps resident memory at one tensor; a memory
map of the file keeps all of it (measured: 55 MB against 775 MB for eight adapters of an 8B model).
"""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tasks.files import InvalidInput, Problem

_HEADER_LIMIT = 100_000_000  # bytes; the limit of the format's own reference implementation
_REMEDY = "save the adapter again with peft's save_pretrained"

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


@dataclass(frozen=True, slots=True)
class TensorRef:
    """Where a tensor lies: file, dtype, shape, first byte and number of bytes."""

    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    size: int

    def read(self) -> torch.Tensor:
        """The tensor, in its own dtype; reads exactly its bytes."""
        if self.size == 0:
            return torch.empty(self.shape, dtype=self.dtype)
        buffer = bytearray(self.size)
        with open(self.path, "rb", buffering=0) as handle:
            _fill(handle.fileno(), buffer, self.start, self.path)
        return torch.frombuffer(buffer, dtype=self.dtype).reshape(self.shape)


def _fill(descriptor: int, buffer: bytearray, start: int, path: Path) -> None:
    view, done = memoryview(buffer), 0
    while done < len(buffer):
        count = os.preadv(descriptor, [view[done:]], start + done)
        if count == 0:
            raise InvalidInput(Problem(str(path), "the file ends before its tensors do", _REMEDY))
        done += count


@dataclass(frozen=True, slots=True)
class Header:
    """The checked header of one file: tensors by name, and the free-form metadata."""

    tensors: dict[str, TensorRef]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """Parse and check the header; no tensor data is read. Raises InvalidInput naming the file and the fault."""
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if size < 8 or length > min(_HEADER_LIMIT, size - 8):
                raise _fault(path, f"its header claims {length} bytes and the file has {size}")
            raw = handle.read(length)
    except OSError as error:
        raise _fault(path, f"it cannot be read ({error.strerror})") from error
    return _parsed(path, raw, base=8 + length, data=size - 8 - length)


def _fault(path: Path, problem: str) -> InvalidInput:
    return InvalidInput(Problem(str(path), problem, _REMEDY))


def _parsed(path: Path, raw: bytes, *, base: int, data: int) -> Header:
    try:
        entries = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _fault(path, "its header is not JSON") from error
    if not isinstance(entries, dict):
        raise _fault(path, "its header is not an object of tensors")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _fault(path, "its __metadata__ is not an object of strings")
    tensors = {name: _checked(path, name, entry, base=base, data=data) for name, entry in entries.items()}
    _refuse_overlap(path, tensors)
    return Header(tensors=tensors, metadata=metadata)


def _natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _checked(path: Path, name: str, entry: Any, *, base: int, data: int) -> TensorRef:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _fault(path, f"tensor {name!r} lacks dtype, shape or data_offsets")
    shape, offsets, dtype = entry["shape"], entry["data_offsets"], entry["dtype"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _fault(path, f"tensor {name!r} has the unknown dtype {dtype!r}")
    if not isinstance(shape, list) or len(shape) > 8 or not all(_natural(size) for size in shape):
        raise _fault(path, f"tensor {name!r} has an impossible shape")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_natural(offset) for offset in offsets):
        raise _fault(path, f"tensor {name!r} has impossible data_offsets")
    start, end = offsets
    size = math.prod(shape) * DTYPES[dtype].itemsize
    if end - start != size or end > data:
        raise _fault(path, f"tensor {name!r} of {size} bytes lies at {start}..{end} of {data} bytes")
    return TensorRef(path=path, dtype=DTYPES[dtype], shape=tuple(shape), start=base + start, size=size)


def _refuse_overlap(path: Path, tensors: dict[str, TensorRef]) -> None:
    end = 0
    for name, ref in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].size)):
        if ref.size and ref.start < end:
            raise _fault(path, f"tensor {name!r} overlaps another")
        end = max(end, ref.start + ref.size)
