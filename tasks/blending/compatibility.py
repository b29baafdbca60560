"""Whether adapters may be blended with given weights, and what they have in common."""

import math
from collections import Counter
from collections.abc import Sequence

import torch

from tasks.blending.adapter import Adapter
from tasks.blending.factors import Layout
from tasks.files import InvalidInput, Problem

Term = tuple[float, Adapter]

_SUM_TOLERANCE = 1e-6  # |sum of weights - 1| up to which whole parameters count as an affine combination


def check_blendable(adapters: Sequence[Adapter], weights: Sequence[float]) -> list[Term]:
    """The terms of the sum, zero weights dropped. Raises InvalidInput with every reason against blending."""
    problems = _weight_problems(adapters, weights)
    if not problems:
        problems = _layout_problems(adapters) + _whole_problems(adapters, weights)
    if problems:
        raise InvalidInput(*problems)
    return [(weight, adapter) for weight, adapter in zip(weights, adapters, strict=True) if weight != 0]


def _weight_problems(adapters: Sequence[Adapter], weights: Sequence[float]) -> list[Problem]:
    if not adapters or len(adapters) != len(weights):
        count = f"{len(adapters)} adapters and {len(weights)} weights"
        return [Problem("blend", f"{count} were given", "name at least one adapter, each with one weight")]
    counts = Counter(adapter.name for adapter in adapters)
    repeated = [
        Problem(name, f"it is given {count} times", "name each adapter once, with the sum of its weights")
        for name, count in counts.items()
        if count > 1
    ]
    return repeated + [
        Problem(adapter.name, f"its weight is {weight}", "give a finite weight")
        for adapter, weight in zip(adapters, weights, strict=True)
        if not math.isfinite(weight)
    ]


def union(adapters: Sequence[Adapter], terms: Sequence[Term]) -> list[Adapter]:
    """The adapters whose modules the blend has: those with weight, or all of them when every weight is zero."""
    return [adapter for _, adapter in terms] or list(adapters)


def layouts(adapters: Sequence[Adapter]) -> dict[str, Layout]:
    """The union of the adapters' modules, sorted by name, with their layouts."""
    every = {module: entry.layout for adapter in adapters for module, entry in adapter.modules.items()}
    return dict(sorted(every.items()))


def _layout_problems(adapters: Sequence[Adapter]) -> list[Problem]:
    known: dict[str, tuple[str, Layout]] = {}
    problems = []
    for adapter in adapters:
        for module, entry in adapter.modules.items():
            first, layout = known.setdefault(module, (adapter.name, entry.layout))
            if layout != entry.layout:
                shapes = f"{(entry.layout.out, *entry.layout.a_tail)} against {(layout.out, *layout.a_tail)} in {first}"
                problems.append(
                    Problem(adapter.name, f"module {module} has shape {shapes}", "blend adapters of one base model")
                )
    return problems


def _whole_problems(adapters: Sequence[Adapter], weights: Sequence[float]) -> list[Problem]:
    present = [(adapter, weight) for adapter, weight in zip(adapters, weights, strict=True) if weight != 0]
    names = sorted({name for adapter, _ in present for name in adapter.whole})
    if not names:
        return []
    problems = []
    if abs(sum(weights) - 1) > _SUM_TOLERANCE:
        problems.append(
            Problem(
                ", ".join(adapter.name for adapter, _ in present if adapter.whole),
                f"parameters saved whole ({', '.join(names)}) cannot be summed with weights of sum {sum(weights):g}",
                "use weights that sum to one, or train without modules_to_save",
            )
        )
    for adapter, _ in present:
        if missing := [name for name in names if name not in adapter.whole]:
            problems.append(
                Problem(
                    adapter.name,
                    f"it lacks the whole parameters {', '.join(missing)} that another adapter replaces",
                    "give every adapter the same modules_to_save, or none",
                )
            )
    return problems + _shape_problems(present, names)


def _shape_problems(present: Sequence[tuple[Adapter, float]], names: Sequence[str]) -> list[Problem]:
    problems = []
    for name in names:
        shapes = {adapter.name: adapter.whole[name].shape for adapter, _ in present if name in adapter.whole}
        if len(set(shapes.values())) > 1:
            problems.append(
                Problem(
                    ", ".join(shapes),
                    f"the whole parameter {name} has different shapes {sorted(set(shapes.values()))}",
                    "blend adapters with the same heads, or train without modules_to_save",
                )
            )
    return problems


def blended_parameters(terms: Sequence[Term]) -> dict[str, torch.Tensor]:
    """The affine combination sum_i w_i W_i of parameters saved whole; exact as sum_i w_i = 1 was checked."""
    names = sorted({name for _, adapter in terms for name in adapter.whole})
    blended = {}
    for name in names:
        total = sum(weight * adapter.whole[name].read().double() for weight, adapter in terms)
        blended[name] = torch.as_tensor(total).float()
    return blended
