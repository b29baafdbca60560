"""A blended adapter in memory, and what can be asked of it without the base model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from tasks.blending.factors import Factors, norm, padded, zero
from tasks.blending.key_names import Factor, Naming, parse_key
from tasks.blending.profiles import Arrangement
from tasks.blending.report import BlendReport


@dataclass(frozen=True, slots=True)
class Blend:
    """An adapter ready to be written: config, tensors by their loader's names, all scales one, and its report."""

    naming: Naming
    config: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]
    report: BlendReport

    @property
    def rank(self) -> int:
        """The rank in the file."""
        return self.report.rank

    @property
    def shares(self) -> dict[str, Mapping[str, float]]:
        """Per module, each adapter's share of the norm: |w_i| ||delta_i|| over the sum of these."""
        return {name: module.shares for name, module in self.report.modules.items()}

    @property
    def lost_energy(self) -> float:
        """Fraction of the squared norm of all deltas that truncation dropped; 0 when exact."""
        return self.report.lost_energy


def assembled(arrangement: Arrangement, factors: Mapping[str, Factors], report: BlendReport) -> Blend:
    """Lay blended modules out as the arrangement says: padded to the file's ranks, zero where no adapter reaches."""
    tensors: dict[str, torch.Tensor] = {}
    for module, layout in arrangement.layouts.items():
        rank = arrangement.ranks[module]
        filled = padded(factors[module], rank) if module in factors else zero(layout, rank)
        tensors.update(zip(arrangement.keys(module), layout.stored(filled), strict=True))
    return Blend(naming=arrangement.naming, config=arrangement.config, tensors=tensors, report=report)


def with_whole_parameters(blend: Blend, parameters: Mapping[str, torch.Tensor]) -> Blend:
    """Add parameters saved in full, by their names in the base model."""
    return replace(
        blend, tensors={**blend.tensors, **{blend.naming.prefix + name: value for name, value in parameters.items()}}
    )


def _keys(blend: Blend) -> dict[str, tuple[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for key in blend.tensors:
        if isinstance(parsed := parse_key(key, blend.naming), Factor):
            found.setdefault(parsed.module, {})[parsed.part] = key
    return {module: (parts["A"], parts["B"]) for module, parts in sorted(found.items())}


def module_factors(blend: Blend) -> dict[str, Factors]:
    """Factors of every module as matrices, scale one."""
    return {module: _matrices(blend, *keys) for module, keys in _keys(blend).items()}


def changes_nothing(blend: Blend) -> bool:
    """Whether the blend leaves the base as it is: every delta is zero, and no parameter is given in full."""
    factors = module_factors(blend)
    return len(blend.tensors) == 2 * len(factors) and not any(bool(one.b.any()) for one in factors.values())


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
