"""The recipe: everything needed to rebuild a composed adapter bit for bit, as JSON beside the adapter."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tasks.composition.composition import Composition
from tasks.library.snapshot import Snapshot

RECIPE_NAME = "recipe.json"


@dataclass(frozen=True, slots=True)
class Ingredient:
    """One adapter of a blend, with its weight and the digest of the directory it was read from."""

    reference: str
    adapter: Path
    digest: str
    weight: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """A composition together with where its adapters lie and how they are blended."""

    target: str
    digest: str
    snapshot: str
    base_model: str
    revision: str | None
    base_digest: str
    ingredients: tuple[Ingredient, ...]  # neighbourhood order, zero weights included
    settings: Mapping[str, Any]
    versions: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """The recipe as it is stored."""
        return {
            "target": self.target,
            "digest": self.digest,
            "snapshot": self.snapshot,
            "base_model": self.base_model,
            "revision": self.revision,
            "base_digest": self.base_digest,
            "ingredients": [
                {"reference": i.reference, "adapter": str(i.adapter), "digest": i.digest, "weight": i.weight}
                for i in self.ingredients
            ],
            "settings": dict(self.settings),
            "versions": dict(self.versions),
        }


def read_recipe(adapter: Path) -> Recipe:
    """The recipe beside a composed adapter."""
    value = json.loads((adapter / RECIPE_NAME).read_text(encoding="utf-8"))
    ingredients = tuple(
        Ingredient(item["reference"], Path(item["adapter"]), item["digest"], item["weight"])
        for item in value["ingredients"]
    )
    own = {field.name: value[field.name] for field in fields(Recipe)}
    return Recipe(**{**own, "ingredients": ingredients})


def recipe_of(
    composition: Composition, snapshot: Snapshot, *, settings: Mapping[str, Any], versions: Mapping[str, str]
) -> Recipe:
    """The recipe of a composition over the snapshot it was solved on."""
    adapters = {reference.name: reference.adapter for reference in snapshot.references}
    return Recipe(
        target=composition.target,
        digest=composition.digest,
        snapshot=composition.snapshot,
        base_model=snapshot.base.name,
        revision=snapshot.base.revision,
        base_digest=snapshot.base.digest,
        ingredients=tuple(
            Ingredient(n.reference, adapters[n.reference], n.adapter_digest, weight)
            for n, weight in zip(composition.neighbours, composition.weights, strict=True)
        ),
        settings=settings,
        versions=versions,
    )
