"""One module of a whole library: every adapter's factors read once, their Gram matrices shared by all targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from tasks.blending.adapter import Adapter, not_finite
from tasks.blending.factors import Factors, Layout
from tasks.blending.truncation import Truncation, by_gram, by_qr, leading
from tasks.files import InvalidInput

Tensor = torch.Tensor


@dataclass(frozen=True)
class LibraryModule:
    """Stacked factors of the adapters that have the module.

    `a` (R, in) and `b` (R, out), float32: rows of A, and scaled columns of B; `rows[adapter]` are an adapter's rows.
    B is kept transposed, so that choosing adapters copies contiguous rows of both.
    """

    name: str
    a: Tensor
    b: Tensor
    rows: Mapping[str, range]

    @property
    def outer_is_b(self) -> bool:
        """Whether B is the shorter side, the one whose Gram matrix is made in float64."""
        return self.b.shape[1] <= self.a.shape[1]

    @cached_property
    def outer_gram(self) -> Tensor:
        """Gram matrix (R, R) of the shorter side's rows in float64 arithmetic."""
        return _gram(self.b if self.outer_is_b else self.a, torch.float64)

    @cached_property
    def inner_gram(self) -> Tensor:
        """Gram matrix (R, R) of the longer side's rows, float32 products summed up in float64."""
        return _gram(self.a if self.outer_is_b else self.b, torch.float32)

    @cached_property
    def norms(self) -> dict[str, float]:
        """Frobenius norm of each adapter's delta."""
        product = self.inner_gram * self.outer_gram
        squares = [product[r.start : r.stop, r.start : r.stop].sum() for r in self.rows.values()]
        return dict(zip(self.rows, torch.stack(squares).clamp(min=0).sqrt().tolist(), strict=True))


_GRAM_CHUNK = 2048  # columns at once: a converted copy stays in the cache, and float32 sums stay short


def _gram(rows: Tensor, products: torch.dtype) -> Tensor:
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for chunk in rows.split(_GRAM_CHUNK, dim=1):
        converted = chunk.to(products)
        total += converted @ converted.T
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
        # Widened before it is scaled: a product in the file's bfloat16 would be rounded to it.
        b[start : start + rank] = entry.b.read().reshape(layout.out, rank).T
        b[start : start + rank] *= entry.scale
        start += rank
    return LibraryModule(name=module, a=a.to(device), b=b.to(device), rows=rows)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The terms of one target in one module: each adapter's rows and weight, and the weight of every row (R,)."""

    terms: tuple[tuple[range, float], ...]
    rows: Tensor
    weights: Tensor

    def combined(self, coefficients: Tensor, stacked: Tensor) -> Tensor:
        """Coefficients (r, R) times the chosen rows of a stacked matrix (., n).

        Adapter by adapter: copying the rows together first takes twice as long (measured, 128 of 480 rows).
        """
        total = torch.zeros(len(coefficients), stacked.shape[1], dtype=stacked.dtype, device=stacked.device)
        start = 0
        for rows, _ in self.terms:
            total.addmm_(coefficients[:, start : start + len(rows)], stacked[rows.start : rows.stop])
            start += len(rows)
        return total


def choose(module: LibraryModule, weights: Mapping[str, float]) -> Chosen | None:
    """Rows and weights of the adapters with a weight other than zero; None if none of them has the module."""
    terms = tuple((r, weight) for name, r in module.rows.items() if (weight := weights.get(name, 0.0)) != 0)
    if not terms:
        return None
    device = module.a.device
    return Chosen(
        terms=terms,
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
        outer, inner = self.how.outer[:rank].float(), self.how.inner[:rank].float()
        on_a, on_b = (inner, outer) if self.module.outer_is_b else (outer, inner)
        a, b = self.chosen.combined(on_a, self.module.a), self.chosen.combined(on_b, self.module.b)
        return Factors(a=a, b=b.T, scale=1.0)


def exact_factors(module: LibraryModule, chosen: Chosen) -> Factors:
    """All directions of the weighted sum: concatenated, never averaged, which would add cross terms (peft#3004).

    The weight sits on B alone, so that a sign is applied once (on both sides it would cancel, peft#2918).
    """
    weighted = module.b[chosen.rows] * chosen.weights[:, None].to(module.b.dtype)
    return Factors(a=module.a[chosen.rows], b=weighted.T, scale=1.0)


def decompose(module: LibraryModule, chosen: Sequence[Chosen]) -> list[Decomposed]:
    """The spectrum of every target's delta: by Gram matrices, by QR in float64 where these are ill-conditioned.

    Targets with equally many rows are factored in one batch. Raises InvalidInput for adapters whose factors are not
    finite or overflow float32.
    """
    _refuse_infinite(module)
    batches: dict[int, list[Chosen]] = {}
    for one in chosen:
        batches.setdefault(len(one.weights), []).append(one)
    found = {id(one): how for batch in batches.values() for one, how in zip(batch, _grams(module, batch), strict=True)}
    return [_decomposed(module, one, found[id(one)]) for one in chosen]


def _refuse_infinite(module: LibraryModule) -> None:
    energy = module.inner_gram.diagonal() * module.outer_gram.diagonal()
    if bool(torch.isfinite(energy).all()):
        return
    names = [name for name, r in module.rows.items() if not bool(torch.isfinite(energy[r.start : r.stop]).all())]
    raise InvalidInput(*(not_finite(name, module.name) for name in names))


def _grams(module: LibraryModule, batch: Sequence[Chosen]) -> list[Truncation | None]:
    return by_gram(
        torch.stack([module.inner_gram[one.rows][:, one.rows] for one in batch]),
        torch.stack([module.outer_gram[one.rows][:, one.rows] for one in batch]),
        torch.stack([one.weights for one in batch]),
    )


def _decomposed(module: LibraryModule, chosen: Chosen, how: Truncation | None) -> Decomposed:
    if how is not None:
        return Decomposed(singular=how.singular, module=module, chosen=chosen, how=how)
    weighted = module.b[chosen.rows].double() * chosen.weights[:, None]
    exact, singular = by_qr(Factors(a=module.a[chosen.rows].double(), b=weighted.T, scale=1.0))
    return Decomposed(singular=singular, module=module, chosen=chosen, how=exact)
