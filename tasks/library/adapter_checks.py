"""What is wrong with an adapter directory, without loading a tensor: whole, LoRA, and made for this base model."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.library.base_model import BaseModel
from tasks.library.memory import Verdict
from tasks.library.safetensors_header import CorruptFile, TensorHeader, read_header

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_IN_SUFFIXES, _OUT_SUFFIXES = (".lora_A.weight", ".lora_embedding_A"), (".lora_B.weight", ".lora_embedding_B")


@dataclass(frozen=True, slots=True)
class BaseShapes:
    """What an adapter is compared with: the base model, other names it is known by, and its weight shapes by module.

    `in_file` are the names in the checkpoint; `in_memory` is asked for the modules' own names only where those fail.
    """

    base: BaseModel
    aliases: frozenset[str]
    root: Path
    in_file: Mapping[str, tuple[int, ...]]
    in_memory: Callable[[], Mapping[str, tuple[int, ...]]]


def examine_adapter(directory: Path, *, shapes: BaseShapes) -> Verdict:
    """Every (problem, remedy) of the adapter in `directory`."""
    if not directory.is_dir():
        return (("there is no adapter directory " + str(directory), "correct the path or train the adapter"),)
    missing = [name for name in (_CONFIG, _WEIGHTS) if not (directory / name).is_file()]
    if missing:
        return ((f"the adapter has no {' and no '.join(missing)}", "save it with PEFT's save_pretrained"),)
    return _examine_config(directory, shapes) + _examine_weights(directory, shapes)


def _examine_config(directory: Path, shapes: BaseShapes) -> Verdict:
    try:
        config = json.loads((directory / _CONFIG).read_text(encoding="utf-8"))
        kind, made_for = config.get("peft_type"), config.get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        return ((f"{_CONFIG} cannot be read ({error})", "save the adapter again"),)
    if kind != "LORA":
        return ((f"the adapter is {kind}, not LoRA", "give a LoRA adapter"),)
    if made_for and not _same_model(str(made_for), directory, shapes):
        found = f"it was made for the base model {made_for!r}, not {shapes.base.name!r}"
        return ((found, "use an adapter of this base model, or list the other name in `aliases`"),)
    return ()


def _same_model(made_for: str, directory: Path, shapes: BaseShapes) -> bool:
    base = shapes.base
    if made_for in (base.name, str(base.path)) or made_for in shapes.aliases:
        return True
    if any((start / made_for).resolve() == base.path for start in (shapes.root, directory)):
        return True
    return Path(made_for).name in (Path(base.name).name, base.path.name)


def _examine_weights(directory: Path, shapes: BaseShapes) -> Verdict:
    try:
        headers = read_header(directory / _WEIGHTS)
    except (CorruptFile, OSError) as error:
        return ((f"{_WEIGHTS} is corrupt: {error}", "copy or save the adapter again"),)
    factors = _factor_shapes(headers)
    if not factors:
        return ((f"{_WEIGHTS} holds no LoRA factors", "save the adapter again"),)
    return _mismatches(factors, _matched(factors, shapes))


def _factor_shapes(headers: Mapping[str, TensorHeader]) -> dict[str, tuple[int | None, int | None]]:
    """(inputs, outputs) of each adapted module, as its factors have them; None where a factor is missing."""
    found: dict[str, tuple[int | None, int | None]] = {}
    for key, header in headers.items():
        for suffixes, position in ((_IN_SUFFIXES, 0), (_OUT_SUFFIXES, 1)):
            for suffix in suffixes:
                if key.endswith(suffix):
                    module = key.removeprefix(_PREFIX).removesuffix(suffix)
                    size = header.shape[1] if position == 0 else header.shape[0]
                    before = found.get(module, (None, None))
                    found[module] = (size, before[1]) if position == 0 else (before[0], size)
    return found


def _matched(factors: Iterable[str], shapes: BaseShapes) -> dict[str, tuple[int, ...]]:
    """Weight shape of every adapted module that the base model has."""
    matched = {module: shape for module in factors if (shape := _find(module, shapes.in_file)) is not None}
    missing = [module for module in factors if module not in matched]
    if missing:
        names = shapes.in_memory()
        matched |= {module: shape for module in missing if (shape := _find(module, names)) is not None}
    return matched


def _mismatches(
    factors: Mapping[str, tuple[int | None, int | None]], matched: Mapping[str, tuple[int, ...]]
) -> Verdict:
    if not matched:
        example = next(iter(factors))
        return ((f"the base model has none of its modules, such as {example}", "use an adapter of this base model"),)
    found: list[tuple[str, str]] = []
    kinds = {module.rpartition(".")[2] for module in matched}
    for module, (inputs, outputs) in factors.items():
        shape = matched.get(module)
        if inputs is None or outputs is None:
            found.append((f"{module} lacks one of its two factors", "save the adapter again"))
        elif shape is None and module.rpartition(".")[2] in kinds:
            found.append((f"the base model has no module {module}", "use an adapter of this base model"))
        elif shape is not None and not _fits((outputs, inputs), shape):
            what = f"{module} has factors for {[outputs, inputs]} where the base model's weight is {list(shape)}"
            found.append((what, "use an adapter of this base model"))
    return tuple(found)


def _find(module: str, weights: Mapping[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    """The weight shape of `module`, also where the checkpoint was saved without or with one more leading component."""
    parts = module.split(".")
    for start in range(min(3, len(parts))):
        tail = ".".join(parts[start:])
        if tail in weights:
            return weights[tail]
    longer = [shape for name, shape in weights.items() if name.endswith("." + module)]
    return longer[0] if len(longer) == 1 else None


def _fits(factors: tuple[int, int], weight: tuple[int, ...]) -> bool:
    # A transposed weight is GPT-2's Conv1D or an embedding; a convolution has two more dimensions.
    sizes: Any = tuple(weight[:2])
    return sizes in (factors, factors[::-1])
