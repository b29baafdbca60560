"""The five problems a target's weights can solve."""

from enum import Enum


class Variant(Enum):
    """What is asked of the weights w; every variant minimises ||z - sum_i w_i z_i||^2 + penalty * ||w||_1.

    AFFINE is Eq. 5 of arXiv 2410.09908: weights sum to one, negative ones allowed.
    FREE has no constraint (the lasso); NONNEGATIVE forbids negative weights; SIMPLEX also asks for the sum one, where
    the penalty is a constant. REFIT takes the supports along the free path, refits each by least squares with sum
    one, and keeps the one with the smallest BIC: the penalty only orders the candidates.
    """

    AFFINE = "affine"
    FREE = "free"
    NONNEGATIVE = "nonnegative"
    SIMPLEX = "simplex"
    REFIT = "refit"

    @property
    def sums_to_one(self) -> bool:
        """Whether the weights sum to one, which makes the solution independent of where the origin lies."""
        return self in (Variant.AFFINE, Variant.SIMPLEX, Variant.REFIT)

    @property
    def signed(self) -> bool:
        """Whether weights may be negative."""
        return self in (Variant.AFFINE, Variant.FREE, Variant.REFIT)
