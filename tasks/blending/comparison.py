"""TIES and DARE on the true deltas, for comparison with the plain sum only.

Both are defined on weight differences (Yadav et al., arXiv 2306.01708; Yu et al., arXiv 2311.03099). On LoRA's factors
they are something else: pruning A and B apart prunes products of entries. Each module's delta is formed densely here,
one module at a time, and the result is truncated to a LoRA of the asked rank.
"""

from collections.abc import Callable, Sequence

import torch

from tasks.blending.adapter import Adapter
from tasks.blending.blend import Blend, assembled
from tasks.blending.compatibility import check_blendable, layouts, union
from tasks.blending.factors import Factors, dense
from tasks.blending.profiles import Profile, arrange
from tasks.blending.report import ModuleReport, norm_shares, summed
from tasks.blending.truncation import by_svd, effective_rank, leading, lost_energy
from tasks.files import InvalidInput, Problem

Tensor = torch.Tensor
Combine = Callable[[Tensor, Tensor], Tensor]


def ties(deltas: Tensor, weights: Tensor, *, density: float) -> Tensor:
    """TIES of deltas (k, out, in) with weights (k,): keep the largest entries, elect signs, average those that agree.

    Of each delta the share `density` of entries is kept, at least one; the mean over the agreeing ones is weighted:
    sum of w_i d_i over sum of |w_i|.
    """
    flat = deltas.flatten(1)
    kept = max(1, round(density * flat.shape[1]))
    floor = flat.abs().topk(kept, dim=1).values[:, -1:]
    weighted = torch.where(flat.abs() >= floor, flat, 0) * weights[:, None]
    agreeing = (torch.sign(weighted) == torch.sign(weighted.sum(0))) & (weighted != 0)
    total = torch.where(agreeing, weighted, 0).sum(0)
    count = (agreeing * weights.abs()[:, None]).sum(0)
    return torch.where(count > 0, total / count.clamp(min=1e-300), 0).reshape(deltas.shape[1:])


def dare(deltas: Tensor, weights: Tensor, *, density: float, generator: torch.Generator) -> Tensor:
    """DARE: keep each entry with probability `density`, divide by it (so that the mean is the delta), and sum."""
    mask = torch.rand(deltas.shape, generator=generator, dtype=deltas.dtype) < density
    return torch.einsum("k,koi->oi", weights, deltas * mask / density)


def blend_densely(
    profile: Profile,
    adapters: Sequence[Adapter],
    weights: Sequence[float],
    combine: Combine,
    rank: int,
    *,
    base_model_name: str,
    revision: str | None,
) -> Blend:
    """Combine every module's dense deltas (k, out, in), float64, and truncate to `rank`. For small models only.

    `lost_energy` is relative to the combined delta. Adapters with parameters saved whole are refused.
    """
    terms = check_blendable(adapters, weights)
    if heads := [adapter for _, adapter in terms if adapter.whole]:
        problems = (Problem(a.name, "it has parameters saved whole", "compare without modules_to_save") for a in heads)
        raise InvalidInput(*problems)
    members = union(adapters, terms)
    shapes = layouts(members)
    factors: dict[str, Factors] = {}
    reports: dict[str, ModuleReport] = {}
    for module in shapes:
        present = [(weight, adapter) for weight, adapter in terms if module in adapter.modules]
        if present:
            deltas = torch.stack([dense(adapter.modules[module].factors(torch.float64)) for _, adapter in present])
            chosen = torch.tensor([weight for weight, _ in present], dtype=torch.float64)
            every, singular = by_svd(combine(deltas, chosen))
            factors[module] = leading(every, rank)
            norms = {a.name: abs(w) * float(d.norm()) for (w, a), d in zip(present, deltas, strict=True)}
            reports[module] = _report(singular, factors[module].rank, norms)
    ranks = {module: factors[module].rank if module in factors else 1 for module in shapes}
    arrangement = arrange(
        profile, members, shapes, ranks, heads=False, base_model_name=base_model_name, revision=revision
    )
    return assembled(arrangement, factors, summed(arrangement.rank, reports))


def _report(singular: Tensor, rank: int, norms: dict[str, float]) -> ModuleReport:
    total = float(singular.norm())
    return ModuleReport(
        rank=rank,
        norm=total,
        lost_energy=lost_energy(singular, rank) / total**2 if total else 0.0,
        effective_rank=effective_rank(singular),
        shares=norm_shares(norms),
    )
