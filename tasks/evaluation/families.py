"""A package with one module for each family: the module is imported only where its family is used."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from tasks.library.families import Family

_MODULES = {
    Family.ENCODER: "classification",
    Family.SEGMENTATION: "segmentation",
    Family.CAUSAL_LM: "causal_lm",
    Family.DIFFUSION: "diffusion",
}


def opener(package: str, family: Family) -> Callable[[Any], Any]:
    """`open_NAME` of the family's module in `package`: its models' libraries take seconds to import."""
    name = _MODULES[family]
    found: Callable[[Any], Any] = getattr(import_module(f"{package}.{name}"), f"open_{name}")
    return found
