"""What runs on a worker for one target. Plain functions of picklable values: no Prefect, no MLflow."""

from dataclasses import replace
from pathlib import Path

from tasks.composition.recipe import RECIPE_NAME, Recipe
from tasks.files import write_json


def blend_recipe(recipe: Recipe, directory: Path) -> None:
    """Make the adapter that a recipe describes; the recipe beside it comes last and says that it is whole."""
    from tasks.blending.exact import blend_exact
    from tasks.blending.peft_files import read_adapter, write_adapter

    if (directory / RECIPE_NAME).is_file():
        return
    used = [ingredient for ingredient in recipe.ingredients if ingredient.weight != 0] or list(recipe.ingredients[:1])
    adapters = [replace(read_adapter(item.adapter), name=item.reference) for item in used]
    blend = blend_exact(
        adapters, [item.weight for item in used], base_model_name=recipe.base_model, revision=recipe.revision
    )
    write_adapter(blend, directory)
    shares = {module: dict(share) for module, share in blend.shares.items()}
    blended = {"rank": blend.rank, "lost_energy": blend.lost_energy, "shares": shares}
    write_json(directory / RECIPE_NAME, {**recipe.as_json(), "blend": blended})
