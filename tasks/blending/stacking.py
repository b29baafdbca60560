"""The exact blend of one module without its spectrum: as fast as the disk, for files of any size."""

import math
from collections.abc import Sequence

import torch

from tasks.blending.adapter import Module, not_finite
from tasks.blending.report import ModuleReport, norm_shares
from tasks.files import InvalidInput

Tensor = torch.Tensor
Term = tuple[str, float, Module]


def stack_module(key: str, terms: Sequence[Term], dtype: torch.dtype) -> tuple[Tensor, Tensor, ModuleReport]:
    """Stored factors A (R, ...) and B (out, R, ...) of the weighted sum, in `dtype`, and each adapter's share.

    `key` names the module in errors. A is copied bit for bit where the files have `dtype` already; B is multiplied in
    float32 and rounded once. Raises InvalidInput for factors that are not finite.
    """
    layout = terms[0][2].layout
    rank = sum(module.rank for _, _, module in terms)
    a = torch.empty(rank, *layout.a_tail, dtype=dtype)
    b = torch.empty(layout.out, rank, dtype=dtype)
    norms, start = {}, 0
    for name, weight, module in terms:
        rows = slice(start, start + module.rank)
        own_a, own_b = module.a.read(), module.b.read().reshape(layout.out, module.rank)
        a[rows] = own_a
        wide = own_b.float()
        b[:, rows] = wide * (weight * module.scale)
        norms[name] = abs(weight) * (delta_norm(own_a, wide, module) if module.norm is None else module.norm)
        if not math.isfinite(norms[name]):
            raise InvalidInput(not_finite(name, key))
        start += module.rank
    report = ModuleReport(rank=rank, norm=None, lost_energy=0.0, effective_rank=None, shares=norm_shares(norms))
    return a, b.reshape(layout.out, rank, *layout.b_tail), report


def delta_norm(stored_a: Tensor, b: Tensor, module: Module) -> float:
    """Frobenius norm of the module's delta from A as stored and B (out, r) in float32; NaN or infinite if they are."""
    a = stored_a.reshape(module.rank, -1).float()
    return abs(module.scale) * float(((a @ a.T) * (b.T @ b)).sum().clamp(min=0).sqrt())
