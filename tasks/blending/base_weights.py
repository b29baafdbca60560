"""A base model's weights on disk, opened by header: for DoRA conversion and for the shapes of missing modules."""

from collections.abc import Mapping
from pathlib import Path

from tasks.blending.safetensors_file import TensorRef, read_header
from tasks.files import InvalidInput, Problem


def read_base_weights(directory: Path) -> dict[str, TensorRef]:
    """Every parameter of a safetensors model directory (single file, shards or diffusers component), by name.

    Raises InvalidInput where there is none.
    """
    files = sorted(path for path in directory.glob("*.safetensors") if not path.name.startswith("adapter_"))
    if not files:
        remedy = "name a local model directory saved with save_pretrained"
        raise InvalidInput(Problem(str(directory), "it holds no safetensors weights of a base model", remedy))
    return {name: ref for path in files for name, ref in read_header(path).tensors.items()}


def matrix_shapes(weights: Mapping[str, TensorRef], *, transposed: bool) -> dict[str, tuple[int, int]]:
    """(out, in) of every module with a weight matrix; `transposed` for GPT-2's Conv1D, which stores (in, out)."""
    shapes = {
        name.removesuffix(".weight"): ref.shape
        for name, ref in weights.items()
        if name.endswith(".weight") and len(ref.shape) == 2
    }
    return {name: (shape[1], shape[0]) if transposed else (shape[0], shape[1]) for name, shape in shapes.items()}


def module_names(weights: Mapping[str, TensorRef]) -> list[str]:
    """Modules that have a weight."""
    return sorted(name.removesuffix(".weight") for name in weights if name.endswith(".weight"))
