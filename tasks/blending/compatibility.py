"""Whether adapters may be blended with given weights, and what they have in common."""

import math
from collections import Counter
from collections.abc import Sequence

from tasks.blending.adapter import Adapter
from tasks.blending.factors import Layout
from tasks.blending.whole_parameters import Term, whole_problems
from tasks.files import InvalidInput, Problem


def check_blendable(adapters: Sequence[Adapter], weights: Sequence[float]) -> list[Term]:
    """The terms of the sum, zero weights dropped. Raises InvalidInput with every reason against blending."""
    problems = _weight_problems(adapters, weights)
    if not problems:
        problems = _naming_problems(adapters) + _layout_problems(adapters)
    if problems:
        raise InvalidInput(*problems)
    terms = [(weight, adapter) for weight, adapter in zip(weights, adapters, strict=True) if weight != 0]
    if problems := whole_problems(terms):
        raise InvalidInput(*problems)
    return terms


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


def _naming_problems(adapters: Sequence[Adapter]) -> list[Problem]:
    first = adapters[0]
    return [
        Problem(
            adapter.name,
            f"its modules are named for another loader than those of {first.name}",
            "blend PEFT directories with one another, and diffusers or kohya files with one another",
        )
        for adapter in adapters
        if adapter.naming != first.naming
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
