"""A blended adapter in memory, and what can be asked of it without the base model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from tasks.blending.factors import Factors, norm
from tasks.blending.key_names import PREFIX, Factor, parse_key


@dataclass(frozen=True, slots=True)
class Blend:
    """An adapter ready to be written: PEFT's config and tensors by PEFT's names, all scales one.

    `shares[module][adapter]` is |w_i| ||delta_i|| over the sum of these norms: how much of the module's weight change
    each adapter brings. `lost_energy` is the fraction of the squared norm of all deltas that truncation dropped.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]
    rank: int
    shares: Mapping[str, Mapping[str, float]]
    lost_energy: float


def _keys(blend: Blend) -> dict[str, tuple[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for key in blend.tensors:
        if isinstance(parsed := parse_key(key), Factor):
            found.setdefault(parsed.module, {})[parsed.part] = key
    return {module: (parts["A"], parts["B"]) for module, parts in sorted(found.items())}


def module_factors(blend: Blend) -> dict[str, Factors]:
    """Factors of every module as matrices, scale one."""
    return {module: _matrices(blend, *keys) for module, keys in _keys(blend).items()}


def _matrices(blend: Blend, a_key: str, b_key: str) -> Factors:
    a, b = blend.tensors[a_key], blend.tensors[b_key]
    return Factors(a=a.reshape(a.shape[0], -1), b=b.reshape(b.shape[0], a.shape[0]), scale=1.0)


def module_norms(blend: Blend) -> dict[str, float]:
    """Frobenius norm of each module's delta."""
    return {module: norm(factors) for module, factors in module_factors(blend).items()}


def rescale(blend: Blend, factors: Mapping[str, float]) -> Blend:
    """Multiply the delta of each named module; modules that are not named keep theirs."""
    keys = _keys(blend)
    scaled = {keys[module][1]: blend.tensors[keys[module][1]] * factor for module, factor in factors.items()}
    return replace(blend, tensors={**blend.tensors, **scaled})


def random_like(blend: Blend, generator: torch.Generator) -> Blend:
    """The random control: Gaussian factors in place of the blend's, each module's delta scaled to the blend's norm."""
    drawn: dict[str, torch.Tensor] = {}
    for a_key, b_key in _keys(blend).values():
        for key in (a_key, b_key):
            shape = blend.tensors[key].shape
            drawn[key] = torch.randn(shape, generator=generator, device=generator.device).to(blend.tensors[key])
    control = replace(blend, tensors={**blend.tensors, **drawn})
    wanted, got = module_norms(blend), module_norms(control)
    return rescale(control, {module: wanted[module] / got[module] for module in wanted})


def tensor_keys(module: str, suffixes: tuple[str, str]) -> tuple[str, str]:
    """PEFT's names of a module's two factors."""
    return f"{PREFIX}{module}.{suffixes[0]}", f"{PREFIX}{module}.{suffixes[1]}"
