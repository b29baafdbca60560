"""The best low-rank approximation of a weighted sum of low-rank deltas; the sum is never formed.

Two routes to the same answer (Eckart-Young). `by_qr` factors the stacked B and A^T apart and takes the SVD of a small
core; it is stable for any input and is the oracle. `by_gram` needs only the Gram matrices of the stacked factors, which
a library of adapters shares between all targets: with A A^T = L L^T, the right singular vectors of B C A are Q v, where
Q = A^T L^-T has orthonormal columns and v are eigenvectors of L^T C (B^T B) C L. Both A_out and B_out are then one thin
product with the stacked factors. By symmetry A and B^T may change places.

Precision: the result is an orthogonal projection of the delta exactly as far as B^T B is exact, so that one is float64.
An error in A A^T only turns the subspace, a second-order excess, so that float32 will do for the longer side.
"""

from dataclasses import dataclass

import torch

from tasks.blending.factors import Factors

Tensor = torch.Tensor

# Below this ratio of squared pivots the float32 Gram matrix no longer determines its Cholesky factor well.
_PIVOT_FLOOR = 1e-5
# Where the terms of the sum cancel to less than this share of their own squared norms, its energy would be inaccurate.
_CANCELLATION_FLOOR = 1e-3


@dataclass(frozen=True, slots=True)
class Truncation:
    """Coefficients of the truncated factors on the stacked ones, and the whole spectrum.

    `outer` (R', R) and `inner` (R', R) multiply the stacked rows of the side whose Gram matrix is exact and of the
    other one. Rows are ordered by falling singular value: the first r are the best rank-r approximation for every r.
    `singular` (R',) are the singular values of the delta, descending.
    """

    outer: Tensor
    inner: Tensor
    singular: Tensor


def by_gram(inner: Tensor, outer: Tensor, coefficients: Tensor) -> list[Truncation | None]:
    """Truncations for T targets from Gram matrices of stacked rows (T, R, R) and c (T, R), float64.

    The delta is outer^T diag(c) inner, or its transpose. One batch of small factorisations, which is what a GPU wants.
    None where a target's result would be inaccurate.
    """
    factor, failed = torch.linalg.cholesky_ex(inner)
    pivots = factor.diagonal(dim1=-2, dim2=-1) ** 2
    weighted = coefficients[:, :, None] * outer * coefficients[:, None, :]
    energy = (weighted * inner).sum((-2, -1))
    own = (weighted.diagonal(dim1=-2, dim2=-1) * inner.diagonal(dim1=-2, dim2=-1)).sum(-1)
    stable = (failed == 0) & (pivots.amin(-1) >= _PIVOT_FLOOR * pivots.amax(-1)) & (energy >= _CANCELLATION_FLOOR * own)
    if not bool(stable.any()):
        return [None] * len(stable)
    # An unstable target's factor may hold anything; zeros keep the batch's eigensolver from failing on it.
    factor = torch.where(stable[:, None, None], factor, 0.0)
    squares, vectors = torch.linalg.eigh(factor.mT @ weighted @ factor)
    singular = squares.flip(-1).clamp(min=0).sqrt()
    # L^-T v = C (B^T B) C L v / sigma^2: no triangular solve, and an error of at most |A| |B| in float units.
    root = factor @ vectors.flip(-1)
    balance = _safe_reciprocal(singular.sqrt())[:, None, :]
    outwards = (coefficients[:, :, None] * root * balance).mT
    inwards = (weighted @ root * balance**3).mT
    found = zip(stable.tolist(), outwards, inwards, singular, strict=True)
    return [Truncation(outer=b, inner=a, singular=s) if usable else None for usable, b, a, s in found]


def _safe_reciprocal(values: Tensor) -> Tensor:
    # Directions without energy get factor zero, not infinity.
    alive = values > values.amax(-1, keepdim=True) * 1e-8
    return torch.where(alive, 1 / torch.where(alive, values, 1), 0)


def by_qr(factors: Factors) -> tuple[Factors, Tensor]:
    """Balanced factors (A_out has orthogonal rows of norm sqrt(sigma)) at full rank, and the singular values; float64.

    The first r rows and columns are the best approximation of rank r.
    """
    q_b, r_b = torch.linalg.qr(factors.b.double() * factors.scale)
    q_a, r_a = torch.linalg.qr(factors.a.double().T)
    u, singular, vh = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
    root = singular.sqrt()
    return Factors(a=(root[:, None] * vh) @ q_a.T, b=q_b @ (u * root), scale=1.0), singular


def by_svd(delta: Tensor) -> tuple[Factors, Tensor]:
    """Balanced factors of a dense delta (out, in) at full rank, and its singular values; for deltas without factors."""
    u, singular, vh = torch.linalg.svd(delta, full_matrices=False)
    root = singular.sqrt()
    return Factors(a=root[:, None] * vh, b=u * root, scale=1.0), singular


def leading(factors: Factors, rank: int) -> Factors:
    """The first `rank` directions of factors ordered by singular value, float32; fewer where there are fewer."""
    return Factors(a=factors.a[:rank].float(), b=factors.b[:, :rank].float(), scale=factors.scale)


def rank_for_energy(singular: Tensor, share: float) -> int:
    """The smallest rank (at least one) that keeps `share` of the squared norm."""
    energy = (singular.double() ** 2).cumsum(0)
    if float(energy[-1]) == 0:
        return 1
    return int((energy < share * energy[-1]).sum().clamp(max=len(singular) - 1)) + 1


def lost_energy(singular: Tensor, rank: int) -> float:
    """Squared norm that a truncation to `rank` drops."""
    return float((singular.double()[rank:] ** 2).sum())


def effective_rank(singular: Tensor) -> float:
    """Exponential of the entropy of the normalised singular values (Roy & Vetterli, EUSIPCO 2007); 0 for no delta."""
    total = float(singular.sum())
    if total == 0:
        return 0.0
    shares = singular.double() / total
    return float(torch.exp(torch.special.entr(shares).sum()))
