"""A blend added to the base's own weights, where carrying its factors through every forward pass would cost more.

An exact blend of n adapters of rank r has rank n r: on a small base its factors outweigh the matrices they change. In
float32 the sum W + B A gives what PEFT computes apart, W x + B (A x), to rounding. A base in fewer bits would round the
delta away, so that there, and for modules of unknown kind, PEFT keeps the factors.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from tasks.blending.blend import Blend, module_factors
from tasks.blending.factors import Factors, dense

CHEAP = 0.1  # factors with a smaller share of the weights' elements cost a forward pass less than this, and less memory
_TRANSPOSED = (Conv1D, torch.nn.Embedding)  # their weights are (in, out)
_STRAIGHT = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)


def foldable(base: torch.nn.Module, blend: Blend) -> bool:
    """Whether the blend is factors alone, heavy ones, on float32 matrices that no other module of the base shares."""
    factors, modules = module_factors(blend), dict(base.named_modules())
    known = [modules.get(name) for name in factors]
    if len(blend.tensors) != 2 * len(factors) or not all(type(one) in _STRAIGHT + _TRANSPOSED for one in known):
        return False
    weights = [one.weight for one in known if one is not None]
    holders = [id(parameter) for _, parameter in base.named_parameters(remove_duplicate=False)]
    sizes = sum(factor.a.numel() + factor.b.numel() for factor in factors.values())
    return (
        sizes > CHEAP * sum(weight.numel() for weight in weights)
        and all(weight.dtype is torch.float32 for weight in weights)
        and all(holders.count(id(weight)) == 1 for weight in weights)
    )


@contextmanager
def folded(base: torch.nn.Module, factors: Mapping[str, Factors]) -> Iterator[None]:
    """The base's weights plus the deltas for as long as the block lasts; then its own parameters are back."""
    modules = dict(base.named_modules())
    own: dict[str, Any] = {name: modules[name].weight for name in factors}
    try:
        for name, weight in own.items():
            delta = dense(factors[name]).to(weight.device)
            stored = delta.T if isinstance(modules[name], _TRANSPOSED) else delta.reshape(weight.shape)
            modules[name].weight = torch.nn.Parameter(weight.detach() + stored, requires_grad=False)
        yield
    finally:
        for name, weight in own.items():
            modules[name].weight = weight
