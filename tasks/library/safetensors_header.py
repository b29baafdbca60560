"""The header of a safetensors file: shapes without reading a tensor, and the proof that the file is whole.

Format: 8 bytes little-endian header length, a JSON header, then the data (https://github.com/huggingface/safetensors).
"""

import json
from dataclasses import dataclass
from pathlib import Path

_LONGEST_HEADER = 100_000_000  # bytes; the limit of the reference implementation


class CorruptFile(ValueError):
    """The file is not a whole safetensors file; the message says in what way."""


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """Data type as safetensors names it (`F32`, `BF16`, ...) and shape of one tensor."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, TensorHeader]:
    """Tensor headers by name.

    Raises CorruptFile when the header does not parse or the size does not fit it, OSError when unreadable.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        prefix = handle.read(8)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or length > min(_LONGEST_HEADER, size - 8):
            raise CorruptFile(f"{size} bytes cannot hold its header")
        raw = handle.read(length)
    try:
        content = json.loads(raw)
        tensors = {name: value for name, value in content.items() if name != "__metadata__"}
        ends = [int(value["data_offsets"][1]) for value in tensors.values()]
        headers = {name: TensorHeader(value["dtype"], tuple(value["shape"])) for name, value in tensors.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFile(f"its header is not a safetensors header ({error})") from error
    expected = 8 + length + max(ends, default=0)
    if expected != size:
        raise CorruptFile(f"it has {size} bytes and its header describes {expected}")
    return headers


def read_headers(directory: Path) -> dict[str, TensorHeader]:
    """Headers of every safetensors file below `directory`: shards, and components of a pipeline without its name."""
    headers: dict[str, TensorHeader] = {}
    for path in sorted(directory.rglob("*.safetensors")):
        headers.update(read_header(path))
    return headers
