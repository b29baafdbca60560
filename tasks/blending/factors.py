"""Low-rank factors of one module: delta = scale * B A, always as matrices.

Convolutions are flattened (A (r, in, *kernel) becomes (r, in * prod(kernel))) and the transposed embedding factors of
PEFT are already A (r, vocabulary), B (dimension, r), so that one formula serves every layer.
"""

import math
from dataclasses import dataclass

import torch

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """How the factors of a module are stored: what follows the rank axis of A and of B, and PEFT's names for them."""

    a_tail: tuple[int, ...]
    out: int
    b_tail: tuple[int, ...]
    embedding: bool

    @property
    def columns(self) -> int:
        """Width of the matrix A: `in`, times the kernel's size for a convolution."""
        return math.prod(self.a_tail)

    @property
    def suffixes(self) -> tuple[str, str]:
        """What PEFT appends to the module's name for A and for B."""
        return ("lora_embedding_A", "lora_embedding_B") if self.embedding else ("lora_A.weight", "lora_B.weight")

    def stored(self, factors: "Factors") -> tuple[Tensor, Tensor]:
        """The factors in the shape of the file, contiguous; the scale must be one."""
        rank = factors.a.shape[0]
        return (
            factors.a.reshape(rank, *self.a_tail).contiguous(),
            factors.b.reshape(self.out, rank, *self.b_tail).contiguous(),
        )

    def shapes(self, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Stored shapes of A and B at a rank."""
        return (rank, *self.a_tail), (self.out, rank, *self.b_tail)


@dataclass(frozen=True, slots=True)
class Factors:
    """A (r, in), B (out, r) and the scale s of LoRA (Hu et al., arXiv 2106.09685): delta = s B A."""

    a: Tensor
    b: Tensor
    scale: float

    @property
    def rank(self) -> int:
        """Number of rows of A."""
        return self.a.shape[0]


def dense(factors: Factors) -> Tensor:
    """Delta (out, in) in full. For tests, comparison methods and small layers; blending never forms it."""
    return factors.scale * (factors.b @ factors.a)


def singular_values(factors: Factors) -> Tensor:
    """The singular values of the delta that can differ from zero, descending, float64 (r,); the delta is not formed."""
    r_b = torch.linalg.qr(factors.b.double(), mode="r").R
    r_a = torch.linalg.qr(factors.a.double().T, mode="r").R
    return abs(factors.scale) * torch.linalg.svdvals(r_b @ r_a.T)


def norm(factors: Factors) -> float:
    """Frobenius norm of the delta."""
    return float(singular_values(factors).norm())


def padded(factors: Factors, rank: int) -> Factors:
    """The same delta at a higher rank: zero rows below A, zero columns right of B."""
    missing = rank - factors.rank
    if missing == 0:
        return factors
    return Factors(
        a=torch.nn.functional.pad(factors.a, (0, 0, 0, missing)),
        b=torch.nn.functional.pad(factors.b, (0, missing)),
        scale=factors.scale,
    )


def zero(layout: Layout, rank: int) -> Factors:
    """Factors of the zero delta at a rank."""
    return Factors(a=torch.zeros(rank, layout.columns), b=torch.zeros(layout.out, rank), scale=1.0)
