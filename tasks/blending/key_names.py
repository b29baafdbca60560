"""Tensor names: PEFT's `base_model.model.<module>.lora_A.weight`, and diffusers' the same without the prefix."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Naming:
    """How a family of loaders names things: prefix of every tensor, the file, and the config beside it, if any."""

    prefix: str
    weights_name: str
    config_name: str | None

    def key(self, module: str, suffix: str) -> str:
        """Tensor name of a module's factor."""
        return f"{self.prefix}{module}.{suffix}"


PEFT = Naming("base_model.model.", "adapter_model.safetensors", "adapter_config.json")
# Module names carry the pipeline's component (`unet.`); the scale is one per module as no alpha is stored.
DIFFUSERS = Naming("", "pytorch_lora_weights.safetensors", None)

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


def parse_key(key: str, naming: Naming) -> Key | None:
    """What a tensor name stands for; None when it lacks the prefix."""
    name = key.removeprefix(naming.prefix)
    if not name or not key.startswith(naming.prefix):
        return None
    for pattern, embedding in ((_FACTOR, False), (_EMBEDDING, True)):
        if match := pattern.match(name):
            return Factor(module=match["module"], part=match["part"], embedding=embedding)
    if match := _MAGNITUDE.match(name):
        return Magnitude(match["module"])
    if match := _BIAS.match(name):
        return FactorBias(match["module"])
    return Whole(name)
