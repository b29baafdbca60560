"""Parameters that adapters save in full: trained heads (modules_to_save), and copies of base embeddings.

A head W_i replaces the base's W_0, which is not known here. With weights that sum to one the blend of the heads,
sum_i w_i W_i = W_0 + sum_i w_i (W_i - W_0), does not depend on it and is exact. Copies that are the same in every
adapter (PEFT saves the base embedding beside its LoRA) stay as they are under any weights.
"""

from collections.abc import Sequence

import torch

from tasks.blending.adapter import Adapter
from tasks.files import Problem

Term = tuple[float, Adapter]

_SUM_TOLERANCE = 1e-6  # |sum of weights - 1| up to which a combination counts as affine


def _names(terms: Sequence[Term]) -> list[str]:
    return sorted({name for _, adapter in terms for name in adapter.whole})


def _affine(terms: Sequence[Term]) -> bool:
    return abs(sum(weight for weight, _ in terms) - 1) <= _SUM_TOLERANCE


def _identical(holders: Sequence[Adapter], name: str) -> bool:
    first = holders[0].whole[name]
    if any(other.whole[name].shape != first.shape for other in holders[1:]):
        return False
    value = first.read()
    return all(torch.equal(value, other.whole[name].read()) for other in holders[1:])


def _is_base_copy(name: str) -> bool:
    return ".base_layer." in name


def whole_problems(terms: Sequence[Term]) -> list[Problem]:
    """Every reason why the whole parameters of these adapters cannot be blended exactly."""
    return [problem for name in _names(terms) if (problem := _problem(terms, name)) is not None]


def _problem(terms: Sequence[Term], name: str) -> Problem | None:
    holders = [adapter for _, adapter in terms if name in adapter.whole]
    missing = [adapter.name for _, adapter in terms if name not in adapter.whole]
    item = ", ".join(adapter.name for adapter in holders)
    shapes = {adapter.whole[name].shape for adapter in holders}
    if len(shapes) > 1:
        remedy = "blend adapters with the same heads, or train without modules_to_save"
        return Problem(item, f"the whole parameter {name} has different shapes {sorted(shapes)}", remedy)
    if _is_base_copy(name) or (not missing and not _affine(terms)):
        if _identical(holders, name):
            return None
        total = sum(weight for weight, _ in terms)
        remedy = "use weights that sum to one, or train without modules_to_save"
        if _is_base_copy(name):
            remedy = "blend adapters of one base model"
        return Problem(item, f"the whole parameter {name} cannot be summed with weights of sum {total:g}", remedy)
    if missing:
        remedy = "give every adapter the same modules_to_save, or none"
        return Problem(", ".join(missing), f"it lacks the whole parameter {name} that {item} replaces", remedy)
    return None


def blended_parameters(terms: Sequence[Term]) -> dict[str, torch.Tensor]:
    """The affine combinations, float32, by name; what is the same everywhere stays bit for bit."""
    blended = {}
    for name in _names(terms):
        holders = [(weight, adapter) for weight, adapter in terms if name in adapter.whole]
        if _is_base_copy(name) or not _affine(terms):
            blended[name] = holders[0][1].whole[name].read().float()
            continue
        total = torch.zeros(holders[0][1].whole[name].shape)
        for weight, adapter in holders:
            total.add_(adapter.whole[name].read().float(), alpha=weight)
        blended[name] = total
    return blended
