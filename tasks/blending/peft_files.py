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
from tasks.blending.key_names import PEFT, Naming
from tasks.blending.pickled_file import read_pickled
from tasks.blending.policy import config_problems
from tasks.blending.safetensors_file import read_header
from tasks.files import InvalidInput, Problem, atomic_directory

_PICKLED_NAME = "adapter_model.bin"
_INDEX_NAME = "adapter_model.safetensors.index.json"
_JSON_LIMIT = 10_000_000  # bytes; the largest real ones list every module of a model and stay below 1 MB
_REMEDY = "save the adapter again with peft"


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
    return assemble(name, parse_config(name, raw), read_tensors(directory))


def read_config(directory: Path) -> Any:
    """The JSON of adapter_config.json, unchecked. Raises InvalidInput when it is absent or no JSON."""
    return _read_json(directory / str(PEFT.config_name), "name a PEFT adapter directory")


def _read_json(path: Path, absent: str) -> Any:
    try:
        if path.stat().st_size > _JSON_LIMIT:
            raise InvalidInput(Problem(str(path), "it is larger than any adapter's", "check the file"))
        return json.loads(path.read_bytes())
    except OSError as error:
        fault = Problem(str(path), f"it cannot be read ({error.strerror})", absent)
        raise InvalidInput(fault) from error
    except InvalidInput:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidInput(Problem(str(path), "it is not JSON", _REMEDY)) from error


def read_tensors(directory: Path) -> dict[str, Readable]:
    """Headers of the adapter's tensors: a safetensors file, an index of several, or a `.bin` read with weights_only."""
    single, index, pickled = (directory / name for name in (PEFT.weights_name, _INDEX_NAME, _PICKLED_NAME))
    if single.is_file():
        return dict(read_header(single).tensors)
    if index.is_file():
        return _sharded(index)
    if pickled.is_file():
        return read_pickled(pickled)
    raise InvalidInput(Problem(str(single), "it does not exist", "save the adapter as safetensors"))


def _sharded(index: Path) -> dict[str, Readable]:
    content = _read_json(index, _REMEDY)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise InvalidInput(Problem(str(index), "it has no weight_map of tensors to files", _REMEDY))
    # A shard's name comes from outside: it must be a plain file beside the index, never a path.
    names = sorted(set(places.values()))
    if hostile := [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]:
        raise InvalidInput(Problem(str(index), f"{hostile[0]!r} is no safetensors file beside it", _REMEDY))
    shards = {name: read_header(index.parent / name).tensors for name in names}
    lost = [key for key, name in places.items() if key not in shards[name]]
    if lost:
        raise InvalidInput(Problem(str(index), f"tensor {lost[0]!r} is not in {places[lost[0]]}", _REMEDY))
    return {key: shards[name][key] for key, name in places.items()}


def write_adapter(blend: Blend, directory: Path, *, metadata: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write the blend as its loader's directory; it appears whole or not at all, and an existing one is kept.

    `metadata` goes into the safetensors header: a recipe's digest, say, so that the file can be traced by itself.
    """
    with atomic_directory(directory) as temporary:
        write_config(temporary, blend.naming, blend.config)
        tensors = {key: tensor.contiguous() for key, tensor in blend.tensors.items()}
        save_file(tensors, temporary / blend.naming.weights_name, metadata={"format": "pt", **metadata})


def write_config(directory: Path, naming: Naming, config: Mapping[str, Any]) -> None:
    """Write the config into a directory in the making, where the loader wants one."""
    if naming.config_name is not None:
        text = json.dumps(dict(config), indent=2, sort_keys=True)
        (directory / naming.config_name).write_text(text + "\n", encoding="utf-8")
