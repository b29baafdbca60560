"""What a directory holds, read as leniently as possible: a diagnosis must not stop at the first fault."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.blending.key_names import DIFFUSERS, PEFT, Factor, Key, Naming, Whole, parse_key
from tasks.blending.peft_files import read_config, read_tensors
from tasks.blending.safetensors_file import read_header
from tasks.files import InvalidInput

COMPONENTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3", "controlnet")


@dataclass(frozen=True, slots=True)
class Facts:
    """Config (empty if there is none), parsed tensor names with shapes, and what could not be read."""

    config: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    keys: Mapping[str, Key | None]
    config_fault: str | None
    weights_fault: str | None
    for_diffusers: bool

    def factors(self, part: str) -> dict[str, tuple[int, ...]]:
        """Shapes of one half of the factors by module."""
        return {k.module: self.shapes[n] for n, k in self.keys.items() if isinstance(k, Factor) and k.part == part}

    def ranks(self) -> dict[str, int]:
        """Rank of every module by its A."""
        return {module: shape[0] for module, shape in self.factors("A").items() if shape}

    def whole(self) -> list[str]:
        """Parameters saved in full, without copies of base layers."""
        return [
            key.parameter
            for key in self.keys.values()
            if isinstance(key, Whole) and ".base_layer." not in key.parameter
        ]


def gather(directory: Path) -> Facts:
    """Read config and headers; faults become facts."""
    config, config_fault = _config(directory)
    weights, weights_fault, naming = _weights(directory)
    keys = {name: parse_key(name, naming) for name in weights}
    return Facts(
        config=config,
        shapes=weights,
        keys=keys,
        config_fault=config_fault,
        weights_fault=weights_fault,
        for_diffusers=naming == DIFFUSERS,
    )


def _config(directory: Path) -> tuple[Mapping[str, Any], str | None]:
    try:
        raw = read_config(directory)
    except InvalidInput as error:
        return {}, error.problems[0].problem
    return (raw, None) if isinstance(raw, dict) else ({}, "it is not an object")


def _weights(directory: Path) -> tuple[dict[str, tuple[int, ...]], str | None, Naming]:
    single = directory / DIFFUSERS.weights_name
    naming = DIFFUSERS if single.is_file() and not (directory / PEFT.weights_name).is_file() else PEFT
    try:
        tensors = read_header(single).tensors if naming == DIFFUSERS else read_tensors(directory)
    except InvalidInput as error:
        return {}, error.problems[0].problem, naming
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}, None, naming
