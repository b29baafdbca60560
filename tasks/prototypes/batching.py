"""Which samples go through the model together. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def plan_batches(lengths: Sequence[int], *, token_budget: int) -> list[NDArray[np.int64]]:
    """Positions of the samples of each batch, longest samples first, so that little is padded.

    A batch of n samples of at most t tokens has n * t <= `token_budget`, or n = 1. Equal lengths keep their order, so
    that the plan, and with it every rounding, is a function of the lengths alone.
    """
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    batches: list[NDArray[np.int64]] = []
    start = 0
    while start < len(order):
        longest = max(1, lengths[order[start]])
        stop = start + max(1, token_budget // longest)
        batches.append(order[start:stop])
        start = stop
    return batches
