"""The recipe that a family begins with: what its paper or authors give, else a starting point that says it is one."""

from dataclasses import replace
from typing import Any

from videosieve.errors import RecipeError
from videosieve.integrations.diffusers.models.registering import MODELS
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.integrations.diffusers.models.sequences import sequence_of
from videosieve.recipe import Recipe

STARTING_POINT = "sieve"
"""Where nobody has given settings: our own method, measured on the bundled models alone (docs/methods/sieve.md)."""


def start_of(row: ModelRow, pipeline: Any = None, *, shares: bool = True) -> Recipe:
    """The recipe to begin with for a class of transformers.

    Args:
        row: The class.
        pipeline: Its pipeline, or that one's class; a `recipe` of its own goes before the family's.
        shares: Whether a selection can be shared between the branches of guidance.
    """
    own = getattr(pipeline, "recipe", None)
    name = own if isinstance(own, str) else row.recipe
    if name:
        return Recipe.of(name)
    recipe = Recipe.of(STARTING_POINT)
    note = f"for {row.family} nobody has given settings; `videosieve tune` searches some for a model and a machine"
    shared = recipe.shared_selection and shares and not sequence_of(row).one_by_one
    if recipe.shared_selection and not shared:
        note += "; each branch chooses for itself, because this model cannot share a selection"
    provenance = {**recipe.provenance, "starting_point": note}
    return replace(recipe, provenance=provenance, shared_selection=shared)


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
