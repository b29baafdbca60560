"""Recipes and machines for tiny models."""

from pathlib import Path

from tasks.files import DigestCache
from tasks.library.base_model import resolve_base
from tasks.library.families import Family
from tasks.prototypes.settings import ExtractionSettings, Machine, Pooling, Recipe


def recipe_for(
    model: Path, *, family: Family = Family.ENCODER, pooling: Pooling = Pooling.MEAN, layers: tuple[int, ...] = (-1,)
) -> Recipe:
    base = resolve_base(str(model), None, model.parent, DigestCache())
    return Recipe(
        base=base,
        encoder=base,
        family=family,
        pooling=pooling,
        layers=layers,
        max_tokens=64,
        dtype="float32",
        trust_remote_code=False,
    )


def machine(*, token_budget: int = 64, window_rows: int = 8) -> Machine:
    return Machine(device="cpu", threads=1, token_budget=token_budget, window_rows=window_rows)


def settings_for(model: Path, **options: object) -> ExtractionSettings:
    return ExtractionSettings(recipe_for(model, **options), machine())  # type: ignore[arg-type]
