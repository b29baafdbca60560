"""An adapter as blending sees it: modules with layouts and scales, tensors read only when asked for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

from tasks.blending.adapter_config import AdapterConfig, rank_of, scale_of
from tasks.blending.factors import Factors, Layout
from tasks.blending.key_names import PEFT, Factor, FactorBias, Magnitude, Naming, Whole, parse_key
from tasks.files import InvalidInput, Problem


class Readable(Protocol):
    """A tensor whose shape and dtype are known before it is read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes, known from the header."""

    @property
    def dtype(self) -> torch.dtype:
        """Element type in the file."""

    def read(self) -> torch.Tensor:
        """The tensor itself."""


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor that is in memory already."""

    tensor: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes."""
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Element type."""
        return self.tensor.dtype

    def read(self) -> torch.Tensor:
        """The tensor itself."""
        return self.tensor


@dataclass(frozen=True, slots=True)
class Module:
    """One adapted module: stored factors, their layout, rank and scale, and the delta's Frobenius norm if known."""

    a: Readable
    b: Readable
    layout: Layout
    rank: int
    scale: float
    norm: float | None = None

    def factors(self, dtype: torch.dtype) -> Factors:
        """Read both factors as matrices A (r, in) and B (out, r) of `dtype`."""
        return Factors(
            a=self.a.read().reshape(self.rank, -1).to(dtype),
            b=self.b.read().reshape(self.layout.out, self.rank).to(dtype),
            scale=self.scale,
        )


@dataclass(frozen=True, slots=True)
class Adapter:
    """A checked adapter. `whole` holds the parameters saved in full, by name without the prefix."""

    name: str
    naming: Naming
    config: AdapterConfig
    modules: Mapping[str, Module]
    whole: Mapping[str, Readable]


def assemble(name: str, config: AdapterConfig, tensors: Mapping[str, Readable]) -> Adapter:
    """Group tensors into modules. Raises InvalidInput naming every tensor that is damaged or not plain LoRA."""
    halves: dict[str, dict[str, tuple[Readable, bool]]] = {}
    whole: dict[str, Readable] = {}
    problems: list[Problem] = []
    for key, tensor in tensors.items():
        match parse_key(key, PEFT):
            case Factor(module, part, embedding):
                halves.setdefault(module, {})[part] = (tensor, embedding)
            case Whole(parameter):
                whole[parameter] = tensor
            case Magnitude(module):
                problems.append(_dora(name, module))
            case FactorBias(module):
                problems.append(Problem(name, f"module {module} has a bias on lora_B", "train with lora_bias=False"))
            case None:
                problems.append(Problem(name, f"tensor {key!r} is not a PEFT name", "convert it to PEFT's layout"))
    modules: dict[str, Module] = {}
    for module, found in sorted(halves.items()):
        fault = _fault(found)
        built = fault or _peft_module(config, module, found["A"][0], found["B"][0], embedding=found["A"][1])
        if isinstance(built, Module):
            modules[module] = built
        else:
            problems.append(Problem(name, f"module {module}: {built}", "save the adapter again with peft"))
    if not modules and not problems:
        problems.append(Problem(name, "it holds no LoRA factors", "check that the directory is a trained LoRA adapter"))
    if problems:
        raise InvalidInput(*problems)
    return Adapter(name=name, naming=PEFT, config=config, modules=modules, whole=whole)


def not_finite(name: str, module: str) -> Problem:
    """An adapter whose training diverged, or whose scale overflows."""
    return Problem(name, f"module {module} has values that are not finite or overflow float32", "train it again")


def _dora(name: str, module: str) -> Problem:
    return Problem(
        name,
        f"module {module} has a DoRA magnitude: its delta depends on the norms of the base weights",
        "convert it with the base weights (tesserae blend --base DIR), or train without use_dora",
    )


def _fault(found: Mapping[str, tuple[Readable, bool]]) -> str | None:
    if set(found) != {"A", "B"}:
        return f"lora_{'A' if 'B' in found else 'B'} is missing"
    if found["A"][1] != found["B"][1]:
        return "one factor is an embedding's and the other is not"
    return factor_fault({part: tensor for part, (tensor, _) in found.items()})


def factor_fault(parts: Mapping[str, Readable]) -> str | None:
    """Why tensors cannot be factors at all, whatever their partner; None if they can."""
    for part, tensor in parts.items():
        if not tensor.dtype.is_floating_point:
            return f"lora_{part} is {tensor.dtype}, not floating point"
        if len(tensor.shape) < 2 or math.prod(tensor.shape) == 0:
            return f"lora_{part} has shape {tensor.shape} (sharded training saved without gathering?)"
    return None


def _peft_module(config: AdapterConfig, module: str, a: Readable, b: Readable, *, embedding: bool) -> Module | str:
    expected = rank_of(config, module)
    if a.shape[0] != expected:
        return f"its tensors have rank {a.shape[0]} and adapter_config.json says {expected}"
    return build_module(a, b, scale=scale_of(config, module), embedding=embedding)


def build_module(a: Readable, b: Readable, *, scale: float, embedding: bool) -> Module | str:
    """A module from its stored factors, or the sentence that says why they are no pair."""
    rank = a.shape[0]
    if b.shape[1] != rank:
        # A grouped convolution has B (out, r / groups, 1, 1): block-diagonal, which no single B A describes.
        return f"lora_A has rank {rank} and lora_B {b.shape[1]} (grouped convolutions are not supported)"
    if any(size != 1 for size in b.shape[2:]) or len(a.shape) != len(b.shape):
        return f"lora_A {a.shape} and lora_B {b.shape} are no layout of LoRA"
    layout = Layout(a_tail=a.shape[1:], out=b.shape[0], b_tail=b.shape[2:], embedding=embedding)
    return Module(a=a, b=b, layout=layout, rank=rank, scale=scale)
