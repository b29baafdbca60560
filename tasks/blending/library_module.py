"""One module of a whole library: every adapter's factors read once, their Gram matrices shared by all targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from tasks.blending.adapter import Adapter
from tasks.blending.factors import Factors, Layout
from tasks.blending.truncation import Truncation, by_gram, by_qr, leading

Tensor = torch.Tensor


@dataclass(frozen=True)
class LibraryModule:
    """Stacked factors of the adapters that have the module.

    `a` (R, in) and `b` (R, out), float32: rows of A, and scaled columns of B; `rows[adapter]` are an adapter's rows.
    B is kept transposed, so that choosing adapters copies contiguous rows of both.
    """

    a: Tensor
    b: Tensor
    rows: Mapping[str, range]

    @cached_property
    def gram_a(self) -> Tensor:
        """A A^T (R, R), float64: in float32 near-copies would spoil the smallest directions."""
        wide = self.a.double()
        return wide @ wide.T

    @cached_property
    def gram_b(self) -> Tensor:
        """B^T B (R, R), float64."""
        wide = self.b.double()
        return wide @ wide.T

    def norms(self) -> dict[str, float]:
        """Frobenius norm of each adapter's delta."""
        return {
            name: float(
                (self.gram_a[r.start : r.stop, r.start : r.stop] * self.gram_b[r.start : r.stop, r.start : r.stop])
                .sum()
                .clamp(min=0)
                .sqrt()
            )
            for name, r in self.rows.items()
        }


def read_library_module(
    adapters: Sequence[Adapter], module: str, layout: Layout, *, device: torch.device
) -> LibraryModule:
    """Read the module of every adapter that has it, each tensor once. At least one must have it."""
    present = [adapter for adapter in adapters if module in adapter.modules]
    ranks = [adapter.modules[module].rank for adapter in present]
    a = torch.empty(sum(ranks), layout.columns)
    b = torch.empty(sum(ranks), layout.out)
    rows, start = {}, 0
    for adapter, rank in zip(present, ranks, strict=True):
        entry = adapter.modules[module]
        rows[adapter.name] = range(start, start + rank)
        a[start : start + rank] = entry.a.read().reshape(rank, -1)
        torch.mul(entry.b.read().reshape(layout.out, rank).T, entry.scale, out=b[start : start + rank])
        start += rank
    return LibraryModule(a=a.to(device), b=b.to(device), rows=rows)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The terms of one target in one module: rows of the library module and the weight of each row."""

    rows: Tensor
    weights: Tensor


def choose(module: LibraryModule, weights: Mapping[str, float]) -> Chosen | None:
    """Rows and weights of the adapters with a weight other than zero; None if none of them has the module."""
    terms = [(r, weight) for name, r in module.rows.items() if (weight := weights.get(name, 0.0)) != 0]
    if not terms:
        return None
    device = module.a.device
    return Chosen(
        rows=torch.cat([torch.arange(r.start, r.stop) for r, _ in terms]).to(device),
        weights=torch.cat([torch.full((len(r),), w, dtype=torch.float64) for r, w in terms]).to(device),
    )


@dataclass(frozen=True, slots=True)
class Decomposed:
    """A blended module by falling singular value: `truncated(rank)` gives balanced factors of any rank."""

    singular: Tensor
    module: LibraryModule
    chosen: Chosen
    how: Truncation | Factors

    def truncated(self, rank: int) -> Factors:
        """Best approximation of rank `rank` (fewer where the delta has less), float32, scale one."""
        if isinstance(self.how, Factors):
            return leading(self.how, rank)
        a, b = self.module.a[self.chosen.rows], self.module.b[self.chosen.rows]
        left, right = self.how.left[:, :rank].float(), self.how.right[:rank].float()
        return Factors(a=right @ a, b=(left.T @ b).T, scale=1.0)


def exact_factors(module: LibraryModule, chosen: Chosen) -> Factors:
    """All directions of the weighted sum: concatenated, never averaged, which would add cross terms (peft#3004).

    The weight sits on B alone, so that a sign is applied once (on both sides it would cancel, peft#2918).
    """
    weighted = module.b[chosen.rows] * chosen.weights[:, None].to(module.b.dtype)
    return Factors(a=module.a[chosen.rows], b=weighted.T, scale=1.0)


def decompose(module: LibraryModule, chosen: Chosen) -> Decomposed:
    """The spectrum of one target's delta: by Gram matrices, by QR in float64 where these are ill-conditioned."""
    rows = chosen.rows
    how = by_gram(module.gram_a[rows][:, rows], module.gram_b[rows][:, rows], chosen.weights)
    if how is not None:
        return Decomposed(singular=how.singular, module=module, chosen=chosen, how=how)
    stacked = Factors(a=module.a[rows].double(), b=(module.b[rows].double() * chosen.weights[:, None]).T, scale=1.0)
    exact, singular = by_qr(stacked)
    return Decomposed(singular=singular, module=module, chosen=chosen, how=exact)
