"""Recipes on a language model: methods in their causal form, no denoising steps, nothing that only videos have."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from videosieve.errors import RecipeError
from videosieve.methods import METHODS, Dense, Method, make_method
from videosieve.plugins import load_plugins
from videosieve.recipe import Recipe
from videosieve.schedule import DenseFirst

FAMILIES: dict[str, tuple[str, ...]] = {"LLM": (), "Qwen2VL": ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")}
"""What recipes for language models say they are for, and the `model_type` of such configs; none means any."""

MIN_TOKENS = 1024
"""Queries from which a prefill is sparse, where nothing else is asked for: shorter ones gain nothing."""


def causal_recipe(source: "str | Path | Method | Recipe", **overrides: Any) -> Recipe:
    """A recipe as a language model runs it.

    Args:
        source: As for `Recipe.of`. The name of a method alone takes its causal form and no dense steps.
        **overrides: Fields of the method, `dense_layers` and `min_tokens`.

    Returns:
        The recipe; its method is causal.

    Raises:
        RecipeError: The method has no causal form, or the recipe asks for what a language model has not.
    """
    load_plugins()
    if isinstance(source, str) and source in METHODS:
        method = make_method(_causal_name(METHODS[source]))
        source = Recipe(method, DenseFirst(0, 0), min_tokens=MIN_TOKENS)
    elif isinstance(source, Method):
        source = Recipe(source, DenseFirst(0, 0), min_tokens=MIN_TOKENS)
    recipe = Recipe.of(source)
    if _causal_name(type(recipe.method)) != recipe.method.name:
        raise RecipeError(
            f"{recipe.method.name!r} with parameters for video has no causal form; the method for language models is "
            f"{recipe.method.causal_name!r}"
        )
    if overrides:
        recipe = recipe.override(**overrides)
    if not recipe.method.is_causal:
        recipe = replace(recipe, method=replace(recipe.method, causal=True))  # type: ignore[type-var]
    _require_language(recipe)
    return recipe


def _causal_name(method: type[Method]) -> str:
    if method.causal_name:
        return method.causal_name
    able = sorted({other.causal_name for other in METHODS.values()} - {""})
    raise RecipeError(
        f"{method.name!r} has no causal form, and in a language model no query may see a later key; those that can are "
        f"{', '.join(able)}"
    )


def _require_language(recipe: Recipe) -> None:
    """Refuse what has no meaning without denoising steps, guidance or a grid."""
    schedule = recipe.schedule
    if not isinstance(schedule, DenseFirst):
        raise RecipeError(
            f"a language model has no denoising steps, so nothing of a step can be used at a later one; recipe "
            f"{recipe.name!r} has {schedule}. Leave reuse and plans out; dense_layers is what there is"
        )
    if schedule.steps not in (0, 0.0):
        raise RecipeError(
            f"a language model has no denoising steps; recipe {recipe.name!r} has dense_steps={schedule.steps}. Write "
            f"dense_steps=0, and dense_layers for layers that stay dense"
        )
    if recipe.compensate == "centroids":
        raise RecipeError(
            "compensate='centroids' is for video models: keys of a language model turn with their place, and hardly "
            "lie together in a block. Write compensate='tangents'"
        )
    asked = {"shared_selection": recipe.shared_selection, "token_order": recipe.token_order != "model"}
    for key, there in asked.items():
        if there:
            raise RecipeError(
                f"{key} is for video models; leave it out of recipe {recipe.name!r} on a language model"
            )


def require_family(recipe: Recipe, model: Any) -> None:
    """Raise a RecipeError where a recipe was made for other models than this one."""
    if not recipe.family:
        return
    kind = getattr(getattr(model, "config", None), "model_type", "")
    if recipe.family not in FAMILIES or (FAMILIES[recipe.family] and kind not in FAMILIES[recipe.family]):
        raise RecipeError(
            f"recipe {recipe.name!r} was made for {recipe.family}, not for {type(model).__name__}; take another, or "
            f'say family="" to run it all the same'
        )


def has_head_tables(recipe: Recipe) -> bool:
    """Whether the method has a table with an entry for every head."""
    names = ("head_thresholds", "head_patterns")
    return not isinstance(recipe.method, Dense) and any(getattr(recipe.method, name, None) for name in names)
