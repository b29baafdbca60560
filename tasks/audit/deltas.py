"""How alike two adapters are: the cosine of their deltas, from the factors alone."""

from collections.abc import Callable
from functools import lru_cache

import torch

from tasks.blending.adapter import Adapter

_HELD = 256  # adapters whose headers stay open to the eye; tensors are read anew for each pair


def inner_product(first: Adapter, second: Adapter) -> float:
    """Sum over common modules of <delta, delta'> = s s' <B^T B', A A'^T>: rank by rank, no delta is ever formed."""
    total = 0.0
    # In order: Python orders sets anew in each process, and the last digits of a sum follow.
    for name in sorted(first.modules.keys() & second.modules.keys()):
        one, other = (adapter.modules[name].factors(torch.float64) for adapter in (first, second))
        total += one.scale * other.scale * float(((one.b.T @ other.b) * (one.a @ other.a.T)).sum())
    return total


class DeltaCosines:
    """Cosine of all deltas laid end to end between a library's adapters; reads each, and measures it alone, once.

    A module that only one of the two adapts counts as zero in the other. Rounded to twelve digits, so that the two
    orders of a pair tie, as ranks want them to. `read` opens an adapter by its name and raises what it likes.
    """

    def __init__(self, read: Callable[[str], Adapter]) -> None:
        self._read = lru_cache(maxsize=_HELD)(read)
        self._squared: dict[str, float] = {}

    def between(self, first: str, second: str) -> float:
        """The cosine; zero where either has no delta at all."""
        length = (self._squared_norm(first) * self._squared_norm(second)) ** 0.5
        product = inner_product(self._read(first), self._read(second))
        return round(product / length, 12) if length > 0 else 0.0

    def _squared_norm(self, name: str) -> float:
        if name not in self._squared:
            adapter = self._read(name)
            self._squared[name] = inner_product(adapter, adapter)
        return self._squared[name]
