"""TIES and DARE on whole deltas, by PEFT's own functions: its `ties_svd` and `dare_linear_svd` without the truncation.

Their weights are what their papers say for models merged without validation data: TIES (arXiv 2306.01708) keeps the
largest fifth of each delta, elects signs and averages what agrees; DARE (arXiv 2311.03099) keeps a random share,
rescales it, and averages. Density .2 is TIES's own; DARE has the same, so that both keep equally much.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from peft.utils.merge_utils import dare_linear, ties

from tasks.blending.adapter import Adapter
from tasks.blending.factors import dense

Deltas = Mapping[str, torch.Tensor]
DENSITY = 0.2


def dense_deltas(adapter: Adapter) -> dict[str, torch.Tensor]:
    """Delta (out, in) of each module, a convolution's kernel flattened."""
    return {name: dense(module.factors(torch.float32)) for name, module in adapter.modules.items()}


def ties_delta(deltas: Sequence[Deltas]) -> dict[str, torch.Tensor]:
    """TIES of all deltas, each of weight one (its disjoint mean divides by the number that agree)."""
    ones = torch.ones(len(deltas))
    return _per_module(deltas, lambda parts: ties(parts, ones, DENSITY))


def dare_delta(deltas: Sequence[Deltas], *, seed: int) -> dict[str, torch.Tensor]:
    """DARE of all deltas, averaged."""
    shares = torch.full((len(deltas),), 1.0 / len(deltas))
    with torch.random.fork_rng(devices=[]):  # PEFT draws from the global generator
        torch.manual_seed(seed)
        return _per_module(deltas, lambda parts: dare_linear(parts, shares, DENSITY))


def _per_module(
    deltas: Sequence[Deltas], merge: Callable[[list[torch.Tensor]], torch.Tensor]
) -> dict[str, torch.Tensor]:
    # All adapters of the benchmark have the same modules: what one lacks would have to count as zero.
    return {name: merge([one[name] for one in deltas]) for name in deltas[0]}


@contextmanager
def added(base: torch.nn.Module, delta: Deltas) -> Iterator[torch.nn.Module]:
    """The base with the deltas added to its weights; afterwards its weights are what they were, bit for bit."""
    weights = {name: base.get_parameter(f"{name}.weight") for name in delta}
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    try:
        with torch.no_grad():
            for name, weight in weights.items():
                weight += delta[name].reshape(weight.shape)
        yield base
    finally:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(before[name])
