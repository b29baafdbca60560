"""PEFT adapter directories in and out. Reading opens headers only; writing is atomic."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors.torch import save_file

from tasks.blending.adapter import Adapter, Readable, assemble
from tasks.blending.adapter_config import parse_config
from tasks.blending.blend import Blend
from tasks.blending.policy import config_problems
from tasks.blending.safetensors_file import read_header
from tasks.files import InvalidInput, Problem, atomic_directory

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
_CONFIG_LIMIT = 10_000_000  # bytes; the largest real ones list every module of a model and stay below 1 MB


def read_adapter(directory: Path, *, name: str | None = None) -> Adapter:
    """Open an adapter: its config and tensor headers are checked, no tensor is read. Without a name it is its path.

    Raises InvalidInput naming the adapter for everything that is damaged or that cannot be blended exactly without the
    base model, with the remedy.
    """
    name = name or str(directory)
    raw = read_config(directory)
    problems = config_problems(name, raw) if isinstance(raw, dict) else []
    if problems:
        raise InvalidInput(*problems)
    return assemble(name, parse_config(name, raw), _tensors(directory))


def read_config(directory: Path) -> Any:
    """The JSON of adapter_config.json, unchecked. Raises InvalidInput when it is absent or no JSON."""
    path = directory / CONFIG_NAME
    try:
        if path.stat().st_size > _CONFIG_LIMIT:
            raise InvalidInput(Problem(str(path), "it is larger than any adapter's config", "check the file"))
        return json.loads(path.read_bytes())
    except OSError as error:
        fault = Problem(str(path), f"it cannot be read ({error.strerror})", "name a PEFT adapter directory")
        raise InvalidInput(fault) from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(Problem(str(path), "it is not JSON", "save the adapter again with peft")) from error


def _tensors(directory: Path) -> dict[str, Readable]:
    path = directory / WEIGHTS_NAME
    if not path.is_file():
        raise InvalidInput(Problem(str(path), "it does not exist", "save the adapter as safetensors"))
    return dict(read_header(path).tensors)


def write_adapter(blend: Blend, directory: Path, *, metadata: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write the blend as a PEFT directory; it appears whole or not at all, and an existing one is kept.

    `metadata` goes into the safetensors header: a recipe's digest, say, so that the file can be traced by itself.
    """
    with atomic_directory(directory) as temporary:
        write_config(temporary, blend.config)
        tensors = {key: tensor.contiguous() for key, tensor in blend.tensors.items()}
        save_file(tensors, temporary / WEIGHTS_NAME, metadata={"format": "pt", **metadata})


def write_config(directory: Path, config: Mapping[str, Any]) -> None:
    """Write adapter_config.json into a directory in the making."""
    text = json.dumps(dict(config), indent=2, sort_keys=True)
    (directory / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")
