"""Truncation is as good as a dense SVD, by either route, and says what it lost."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.blending.factors import Factors
from tasks.blending.library_module import Decomposed, LibraryModule, choose, decompose
from tasks.blending.truncation import by_gram, by_qr, effective_rank, rank_for_energy


def library(*, ranks: list[int], columns: int, out: int, spread: float, seed: int) -> LibraryModule:
    """Adapters that share their directions up to `spread`: 0 makes them copies, large values independent."""
    generator = torch.Generator().manual_seed(seed)
    common_a = torch.randn(max(ranks), columns, generator=generator)
    common_b = torch.randn(max(ranks), out, generator=generator)
    a = [common_a[:r] + spread * torch.randn(r, columns, generator=generator) for r in ranks]
    b = [common_b[:r] + spread * torch.randn(r, out, generator=generator) for r in ranks]
    starts = [sum(ranks[:i]) for i in range(len(ranks))]
    rows = {str(i): range(start, start + rank) for i, (start, rank) in enumerate(zip(starts, ranks, strict=True))}
    return LibraryModule(name="m", a=torch.cat(a), b=torch.cat(b), rows=rows)


def dense_sum(module: LibraryModule, weights: dict[str, float]) -> torch.Tensor:
    parts = [
        weight * module.b[list(module.rows[name])].double().T @ module.a[list(module.rows[name])].double()
        for name, weight in weights.items()
    ]
    return torch.stack(parts).sum(0)


def excess(found: Decomposed, delta: torch.Tensor, rank: int) -> float:
    """Relative error beyond the best possible one."""
    factors = found.truncated(rank)
    error = float((delta - factors.b.double() @ factors.a.double()).norm())
    best = float(torch.linalg.svdvals(delta)[rank:].norm())
    return (error - best) / float(delta.norm())


@settings(max_examples=60, deadline=None)
@given(
    ranks=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    spread=st.sampled_from([3.0, 0.1, 1e-3, 1e-5, 0.0]),
    rank=st.integers(1, 12),
    sign=st.sampled_from([-0.6, 0.4]),
    seed=st.integers(0, 10_000),
)
def test_the_error_is_that_of_the_dense_svd_for_near_copies_and_negative_weights(ranks, spread, rank, sign, seed):
    module = library(ranks=ranks, columns=40, out=30, spread=spread, seed=seed)
    weights = {name: 1.0 if name == "0" else sign for name in module.rows}
    delta = dense_sum(module, weights)
    found = decompose(module, [choose(module, weights)])[0]
    assert excess(found, delta, rank) < 1e-5
    assert float(found.singular.norm()) == pytest.approx(float(delta.norm()), rel=1e-5)


def test_near_copies_leave_the_gram_route_for_householder_qr():
    alike = library(ranks=[3, 3], columns=40, out=30, spread=1e-5, seed=0)
    apart = library(ranks=[3, 3], columns=40, out=30, spread=1.0, seed=0)
    weights = {"0": 0.5, "1": 0.5}
    assert isinstance(decompose(alike, [choose(alike, weights)])[0].how, Factors)
    assert not isinstance(decompose(apart, [choose(apart, weights)])[0].how, Factors)


def test_cancelling_adapters_leave_the_gram_route():
    # Far enough apart for the Cholesky factor, so that only the sign of the weights makes the difference.
    module = library(ranks=[2, 2], columns=40, out=30, spread=1e-2, seed=1)
    signs = torch.tensor([[1.0, 1.0, -1.0, -1.0], [1.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    cancelling, adding = by_gram(*(gram.repeat(2, 1, 1) for gram in (module.inner_gram, module.outer_gram)), signs)
    assert cancelling is None
    assert adding is not None


def test_more_stacked_rank_than_columns_is_still_optimal():
    module = library(ranks=[5, 5, 5], columns=7, out=30, spread=1.0, seed=2)
    weights = {"0": 1.0, "1": -1.0, "2": 0.5}
    found = decompose(module, [choose(module, weights)])[0]
    assert excess(found, dense_sum(module, weights), 4) < 1e-6


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0.05, 1.0), seed=st.integers(0, 1000))
def test_the_energy_rank_is_the_smallest_that_keeps_the_share(share, seed):
    singular = torch.rand(9, generator=torch.Generator().manual_seed(seed)).sort(descending=True).values.double()
    rank = rank_for_energy(singular, share)
    kept = (singular**2).cumsum(0) / (singular**2).sum()
    assert float(kept[rank - 1]) >= share * (1 - 1e-12)
    assert rank == 1 or float(kept[rank - 2]) < share


def test_effective_rank_counts_equal_directions():
    assert effective_rank(torch.tensor([2.0, 2.0, 2.0, 0.0])) == pytest.approx(3)
    assert effective_rank(torch.zeros(3)) == 0
    assert math.isclose(effective_rank(torch.tensor([5.0])), 1)


@pytest.mark.parametrize("shape", [(1024, 4096), (4096, 4096), (14336, 4096), (4096, 14336)])
def test_truncation_on_llama_shapes_equals_the_optimum_of_the_core(shape):
    # A dense SVD of these takes minutes (tests.benchmarks.blending does it); the QR of the stacked factors has the same
    # singular values, and the error is measured on the dense delta itself in float64.
    out, columns = shape
    module = library(ranks=[16] * 4, columns=columns, out=out, spread=0.7, seed=3)
    weights = {"0": 0.7, "1": -0.3, "2": 0.4, "3": 0.2}
    chosen = choose(module, weights)
    found = decompose(module, [chosen])[0]
    stacked = Factors(a=module.a, b=(module.b.double() * chosen.weights[:, None]).T, scale=1.0)
    _, singular = by_qr(stacked)
    factors = found.truncated(16)
    delta, error = 0.0, 0.0
    for start in range(0, out, 512):  # in blocks of rows: the whole delta is 470 MB
        block = stacked.b[start : start + 512] @ stacked.a.double()
        delta += float(block.norm() ** 2)
        error += float((block - factors.b[start : start + 512].double() @ factors.a.double()).norm() ** 2)
    best = float(singular[16:].norm())
    assert math.sqrt(error) == pytest.approx(best, rel=1e-5)
    assert math.sqrt(delta) == pytest.approx(float(found.singular.norm()), rel=1e-5)
