"""Blending in memory, for adapters that fit: the evaluation's blends, examples and tests."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from tasks.blending.adapter import Adapter, Held, Module
from tasks.blending.blend import Blend, assembled, with_whole_parameters
from tasks.blending.compatibility import check_blendable, layouts, union
from tasks.blending.factors import Factors
from tasks.blending.library_module import read_library_module
from tasks.blending.module_blend import Blended, blend_module
from tasks.blending.profiles import Profile, arrange
from tasks.blending.recompression import Exact, Recompression, ToEnergy, ToRank
from tasks.blending.report import summed
from tasks.blending.stacking import delta_norm, stack_module
from tasks.blending.whole_parameters import blended_parameters


def blend_adapters(
    adapters: Sequence[Adapter],
    weights: Sequence[float],
    recompression: Recompression,
    profile: Profile,
    *,
    base_model_name: str,
    revision: str | None,
    device: torch.device,
) -> Blend:
    """The weighted sum of the deltas, exact or truncated; tensors are float32.

    Adapters of weight zero are left out; with all weights zero the result is a zero adapter of rank one. Raises
    InvalidInput when the adapters cannot be blended, with every reason.
    """
    terms = check_blendable(adapters, weights)
    members = union(adapters, terms)
    shapes = layouts(members)
    blended: dict[str, Blended] = {}
    for module, layout in shapes.items():
        match recompression:
            case Exact():
                found = _stacked(terms, module)
            case ToRank() | ToEnergy():
                library = read_library_module(members, module, layout, device=device)
                given = {adapter.name: weight for weight, adapter in terms}
                found = blend_module(library, [given], recompression)[0]
        if found is not None:
            blended[module] = found
    factors = {module: found[0] for module, found in blended.items()}
    ranks = {module: factors[module].rank if module in factors else 1 for module in shapes}
    parameters = blended_parameters(terms)
    arrangement = arrange(
        profile,
        members,
        shapes,
        ranks,
        heads=bool(parameters),
        base_model_name=base_model_name,
        revision=revision,
    )
    report = summed(arrangement.rank, {module: found[1] for module, found in blended.items()})
    return with_whole_parameters(assembled(arrangement, factors, report), parameters)


def stored_bytes(adapter: Adapter) -> int:
    """Size of the adapter's tensors in its file."""
    tensors = [tensor for module in adapter.modules.values() for tensor in (module.a, module.b)]
    return sum(math.prod(one.shape) * one.dtype.itemsize for one in (*tensors, *adapter.whole.values()))


def resident(adapter: Adapter) -> Adapter:
    """The adapter with its tensors read and its deltas' norms known, for one that is blended many times.

    Raises InvalidInput when its file ends before its tensors do.
    """
    modules = {name: _resident(module) for name, module in adapter.modules.items()}
    return replace(adapter, modules=modules, whole={name: Held(one.read()) for name, one in adapter.whole.items()})


def _resident(module: Module) -> Module:
    a, b = module.a.read(), module.b.read()
    norm = delta_norm(a, b.reshape(module.layout.out, module.rank).float(), module)
    return replace(module, a=Held(a), b=Held(b), norm=norm)


def _stacked(terms: Sequence[tuple[float, Adapter]], module: str) -> Blended | None:
    """The module of every adapter that has it, side by side; None if none has."""
    own = [(one.name, weight, one.modules[module]) for weight, one in terms if module in one.modules]
    if not own:
        return None
    a, b, report = stack_module(module, own, torch.float32)
    return Factors(a=a.reshape(len(a), -1), b=b.reshape(len(b), len(a)), scale=1.0), report
