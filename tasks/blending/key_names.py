"""PEFT's tensor names: `base_model.model.<module>.lora_A.weight` and its relatives."""

import re
from dataclasses import dataclass

PREFIX = "base_model.model."

# An adapter's name may stand between the part and `weight` (state dicts saved by hand): `lora_A.default.weight`.
_FACTOR = re.compile(r"^(?P<module>.+)\.lora_(?P<part>A|B)(?:\.[^.]+)?\.weight$")
_EMBEDDING = re.compile(r"^(?P<module>.+)\.lora_embedding_(?P<part>A|B)(?:\.[^.]+)?$")
_MAGNITUDE = re.compile(r"^(?P<module>.+)\.lora_magnitude_vector(?:\.[^.]+)?(?:\.weight)?$")
_BIAS = re.compile(r"^(?P<module>.+)\.lora_B(?:\.[^.]+)?\.bias$")


@dataclass(frozen=True, slots=True)
class Factor:
    """One half of a module's factors; `part` is A or B."""

    module: str
    part: str
    embedding: bool


@dataclass(frozen=True, slots=True)
class Magnitude:
    """DoRA's magnitude vector of a module."""

    module: str


@dataclass(frozen=True, slots=True)
class FactorBias:
    """The bias of lora_B."""

    module: str


@dataclass(frozen=True, slots=True)
class Whole:
    """A parameter saved whole (modules_to_save, an embedding's base layer), by its name without the prefix."""

    parameter: str


Key = Factor | Magnitude | FactorBias | Whole


def parse_key(key: str) -> Key | None:
    """What a tensor name stands for; None when it lacks PEFT's prefix."""
    if not key.startswith(PREFIX) or len(key) == len(PREFIX):
        return None
    name = key[len(PREFIX) :]
    for pattern, embedding in ((_FACTOR, False), (_EMBEDDING, True)):
        if match := pattern.match(name):
            return Factor(module=match["module"], part=match["part"], embedding=embedding)
    if match := _MAGNITUDE.match(name):
        return Magnitude(match["module"])
    if match := _BIAS.match(name):
        return FactorBias(match["module"])
    return Whole(name)
