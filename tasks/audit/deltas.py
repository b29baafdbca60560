"""How alike two adapters are: the cosine of their deltas, from the factors alone."""

import torch

from tasks.blending.adapter import Adapter


def inner_product(first: Adapter, second: Adapter) -> float:
    """Sum over common modules of <delta, delta'> = s s' <B^T B', A A'^T>: rank by rank, no delta is ever formed."""
    total = 0.0
    # In order: Python orders sets anew in each process, and the last digits of a sum follow.
    for name in sorted(first.modules.keys() & second.modules.keys()):
        one, other = (adapter.modules[name].factors(torch.float64) for adapter in (first, second))
        total += one.scale * other.scale * float(((one.b.T @ other.b) * (one.a @ other.a.T)).sum())
    return total


def delta_cosine(first: Adapter, second: Adapter) -> float:
    """Cosine of all deltas laid end to end; a module that only one adapts counts as zero in the other.

    Rounded to twelve digits, so that the two orders of a pair tie, as ranks want them to.
    """
    length = (inner_product(first, first) * inner_product(second, second)) ** 0.5
    return round(inner_product(first, second) / length, 12) if length > 0 else 0.0
