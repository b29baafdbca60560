"""The old `.bin` form, read without running any code: torch's weights_only unpickler on an uncompressed zip archive."""

import pickle
import zipfile
from pathlib import Path

import torch

from tasks.blending.adapter import Held, Readable
from tasks.files import InvalidInput, Problem

_REMEDY = "load it where it is trusted and save it as safetensors"


def read_pickled(path: Path) -> dict[str, Readable]:
    """The tensors of a `.bin`, mapped from the file. Raises InvalidInput for all but a plain mapping of tensors."""
    _refuse_bombs(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError) as error:
        raise _fault(path, f"it cannot be read safely ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise _fault(path, "it is not a mapping of tensors")
    for key, tensor in content.items():
        if not isinstance(key, str) or not isinstance(tensor, torch.Tensor):
            raise _fault(path, f"entry {str(key)[:80]!r} is not a tensor")
        if tensor.is_sparse or tensor.is_quantized or tensor.nbytes > tensor.untyped_storage().nbytes():
            # An expanded view claims any size over a few stored bytes.
            raise _fault(path, f"tensor {key[:80]!r} claims more than the file holds")
    return {key: Held(tensor.detach()) for key, tensor in content.items()}


def _refuse_bombs(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _fault(path, "it is not torch's zip format") from error
    if compressed:
        raise _fault(path, "its entries are compressed, which torch never does")


def _fault(path: Path, problem: str) -> InvalidInput:
    return InvalidInput(Problem(str(path), problem, _REMEDY))
