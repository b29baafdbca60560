"""The methods that a target is scored by, as a reader meets them."""

from collections.abc import Container, Iterable, Mapping
from typing import Any

from flows.report import INCUMBENT

# Methods in the order in which a reader compares them: reference points, rivals, ours, controls, upper end.
METHODS = (
    "base",
    "nearest",
    "uniform",
    "similarity",
    "least_squares",
    "simplex",
    "l1",
    "chosen",
    "random",
    "permuted",
    "ceiling",
)


def in_order(present: Container[str]) -> list[str]:
    """The methods that are present, in the order of METHODS; the incumbent, which is no method, comes last."""
    return [method for method in (*METHODS, INCUMBENT) if method in present]


def methods_of(targets: Iterable[Mapping[str, Any]]) -> list[str]:
    """The methods that some target was scored by, in order."""
    return in_order({method for target in targets for method in target["scores"]})
