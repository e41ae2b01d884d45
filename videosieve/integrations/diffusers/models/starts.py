"""The recipe that a family begins with: what its paper or authors give, else a starting point that says it is one."""

from dataclasses import replace

from videosieve.errors import RecipeError
from videosieve.integrations.diffusers.models.registering import MODELS
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.recipe import Recipe

STARTING_POINT = "svg"


def start_of(row: ModelRow) -> Recipe:
    """The recipe to begin with for a class of transformers."""
    if row.recipe:
        return Recipe.of(row.recipe)
    recipe = Recipe.of(STARTING_POINT)
    note = f"for {row.family} nobody has given settings; `videosieve tune` searches some for a model and a machine"
    return replace(recipe, provenance={**recipe.provenance, "starting_point": note})


def require_family(recipe: Recipe, row: ModelRow) -> None:
    """Refuse a recipe that was made for another family.

    Raises:
        RecipeError: It was.
    """
    if recipe.family in ("", row.family, row.like):
        return
    instead = row.recipe or STARTING_POINT
    known = {one.family for one in MODELS.values()}
    unknown = "" if recipe.family in known else ", which is no family that is known here"
    raise RecipeError(
        f"recipe {recipe.name!r} was made for {recipe.family}{unknown}, and this is a {row.family}; take {instead!r}, "
        f"or leave family out of the recipe to use it all the same"
    )
