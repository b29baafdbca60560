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
        return _gram(self.a)

    @cached_property
    def gram_b(self) -> Tensor:
        """B^T B (R, R), float64."""
        return _gram(self.b)

    @cached_property
    def norms(self) -> dict[str, float]:
        """Frobenius norm of each adapter's delta."""
        product = self.gram_a * self.gram_b
        squares = [product[r.start : r.stop, r.start : r.stop].sum() for r in self.rows.values()]
        return dict(zip(self.rows, torch.stack(squares).clamp(min=0).sqrt().tolist(), strict=True))


_GRAM_CHUNK = 2048  # columns converted at once: the float64 copy stays in the cache


def _gram(rows: Tensor) -> Tensor:
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for chunk in rows.split(_GRAM_CHUNK, dim=1):
        wide = chunk.double()
        total.addmm_(wide, wide.T)
    return total


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
    """The terms of one target in one module: rows of the library module (None: all), and the weight of each row."""

    rows: Tensor | None
    weights: Tensor

    def of(self, stacked: Tensor) -> Tensor:
        """The chosen rows of a stacked matrix; not copied where all are chosen."""
        return stacked if self.rows is None else stacked[self.rows]

    def block(self, gram: Tensor) -> Tensor:
        """The chosen rows and columns of a Gram matrix."""
        return gram if self.rows is None else gram[self.rows][:, self.rows]


def choose(module: LibraryModule, weights: Mapping[str, float]) -> Chosen | None:
    """Rows and weights of the adapters with a weight other than zero; None if none of them has the module."""
    terms = [(r, weight) for name, r in module.rows.items() if (weight := weights.get(name, 0.0)) != 0]
    if not terms:
        return None
    device = module.a.device
    every = len(terms) == len(module.rows)
    return Chosen(
        rows=None if every else torch.cat([torch.arange(r.start, r.stop) for r, _ in terms]).to(device),
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
        left, right = self.how.left[:, :rank].float(), self.how.right[:rank].float()
        a, b = self.chosen.of(self.module.a), self.chosen.of(self.module.b)
        return Factors(a=right @ a, b=(left.T @ b).T, scale=1.0)


def exact_factors(module: LibraryModule, chosen: Chosen) -> Factors:
    """All directions of the weighted sum: concatenated, never averaged, which would add cross terms (peft#3004).

    The weight sits on B alone, so that a sign is applied once (on both sides it would cancel, peft#2918).
    """
    weighted = chosen.of(module.b) * chosen.weights[:, None].to(module.b.dtype)
    return Factors(a=chosen.of(module.a), b=weighted.T, scale=1.0)


def decompose(module: LibraryModule, chosen: Sequence[Chosen]) -> list[Decomposed]:
    """The spectrum of every target's delta: by Gram matrices, by QR in float64 where these are ill-conditioned.

    Targets with equally many rows are factored in one batch.
    """
    batches: dict[int, list[Chosen]] = {}
    for one in chosen:
        batches.setdefault(len(one.weights), []).append(one)
    found = {id(one): how for batch in batches.values() for one, how in zip(batch, _grams(module, batch), strict=True)}
    return [_decomposed(module, one, found[id(one)]) for one in chosen]


def _grams(module: LibraryModule, batch: Sequence[Chosen]) -> list[Truncation | None]:
    return by_gram(
        torch.stack([one.block(module.gram_a) for one in batch]),
        torch.stack([one.block(module.gram_b) for one in batch]),
        torch.stack([one.weights for one in batch]),
    )


def _decomposed(module: LibraryModule, chosen: Chosen, how: Truncation | None) -> Decomposed:
    if how is not None:
        return Decomposed(singular=how.singular, module=module, chosen=chosen, how=how)
    weighted = chosen.of(module.b).double() * chosen.weights[:, None]
    exact, singular = by_qr(Factors(a=chosen.of(module.a).double(), b=weighted.T, scale=1.0))
    return Decomposed(singular=singular, module=module, chosen=chosen, how=exact)
