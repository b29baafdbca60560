"""Recipes are project files: the product's own settings read every one of them, offline."""

from pathlib import Path

import pytest

from flows.settings import load_project
from tasks.library.families import Family

RECIPES = sorted((Path(__file__).parents[2] / "docs" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_has_no_unknown_key_and_no_impossible_value(recipe: Path):
    assert load_project(recipe).settings.family in set(Family)


def test_every_recipe_is_in_the_table():
    table = (RECIPES[0].parent / "README.md").read_text(encoding="utf-8")
    assert len(RECIPES) == 6
    assert all(f"`{recipe.name}`" in table for recipe in RECIPES)
