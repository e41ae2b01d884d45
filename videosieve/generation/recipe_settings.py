"""Recipes from what a person types: method names, recipe files, a density, key=value settings."""

import re
from collections.abc import Iterable
from typing import Any

from videosieve.errors import RecipeError
from videosieve.fields import shown
from videosieve.files import parse_json
from videosieve.generation.model_index import resolve_recipe
from videosieve.integrations.caches import Cache
from videosieve.method_rules import require_both_ways
from videosieve.methods import Dense
from videosieve.recipe import Recipe

WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def make_recipe(
    source: str, density: float | None = None, settings: Iterable[str] = (), model: str = ""
) -> Recipe:
    """One recipe.

    Args:
        source: A method, a bundled recipe, the path of a .toml file, or "auto" for the recipe that the family of the
            model begins with.
        density: Overrides the method's density, in (0, 1]; None leaves it.
        settings: Further overrides, "key=value".
        model: As `load_pipeline` takes it; needed for "auto".

    Returns:
        The recipe.

    Raises:
        ModelError: "auto", and what the model is cannot be read.
        RecipeError: Unknown name or key, a value outside its range, a setting without "=", or a causal method.
    """
    values = parse_settings(settings)
    if density is not None:
        if "density" in values:
            raise RecipeError(
                f"give the density once, got --density {density} and --set density={values['density']}"
            )
        values["density"] = density
    recipe = Recipe.of(resolve_recipe(source, model), **values)
    require_both_ways(recipe.method, recipe.compensate)
    return recipe


def make_recipes(
    sources: str, density: float | None = None, settings: Iterable[str] = (), model: str = ""
) -> list[Recipe]:
    """Several recipes from a comma-separated list; overrides go to every one but dense, densities to sparse methods.

    Args:
        sources: For example "svg,spatial_only,mine.toml".
        density: As in `make_recipe`.
        settings: As in `make_recipe`.
        model: As in `make_recipe`.

    Returns:
        One recipe per entry.

    Raises:
        RecipeError: As in `make_recipe`, or the list is empty.
    """
    names = [name.strip() for name in sources.split(",") if name.strip()]
    if not names:
        raise RecipeError(
            f"methods must name at least one method, got {sources!r}; for example svg,spatial_only"
        )
    plain = [Recipe.of(resolve_recipe(name, model)) for name in names]
    settings = list(settings)
    return [
        recipe
        if recipe.is_dense
        else make_recipe(name, None if isinstance(recipe.method, Dense) else density, settings, model)
        for name, recipe in zip(names, plain, strict=True)
    ]


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """ "key=value" texts as a dict; values become int, float, bool (true, yes, on and their like), list or stay text.

    Args:
        settings: For example ["dense_steps=0.1", "profile=official"].

    Returns:
        Values by key.

    Raises:
        RecipeError: An entry has no "=", or a key comes twice.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise RecipeError(f"a setting is key=value, got {setting!r}; for example dense_steps=0.1")
        if key in values:
            raise RecipeError(f"setting {key!r} is given twice, got {values[key]!r} and {value!r}")
        values[key] = _parse_value(value.strip())
    return values


def parse_cache(text: str) -> Cache:
    """A cache of another program as the command line takes it.

    Args:
        text: "name" or "name:setting=value,setting=value"; a list as a value is written [0.1, 0.2].

    Returns:
        The cache.

    Raises:
        RecipeError: An unknown name or setting, a setting without "=", or a value that the cache refuses.
        IntegrationError: Its package is not installed, or too old to have this cache.
    """
    name, _, settings = text.partition(":")
    return Cache(
        name.strip(), parse_settings(re.split(r",(?![^\[]*\])", settings) if settings.strip() else ())
    )


def parse_densities(text: str) -> list[float]:
    """A comma-separated list of densities.

    Args:
        text: For example "0.2,0.3,0.5".

    Returns:
        Two or more numbers in (0, 1], ascending.

    Raises:
        RecipeError: Not numbers, outside the range, or the same one twice.
    """
    try:
        densities = sorted(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise RecipeError(
            f"densities must be numbers separated by commas, got {text!r}; for example 0.2,0.3,0.5"
        ) from None
    if len(set(densities)) < max(2, len(densities)) or not all(0 < value <= 1 for value in densities):
        raise RecipeError(f"densities must be at least two different numbers in (0, 1], got {text!r}")
    return densities


def _parse_value(text: str) -> Any:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if text.startswith("["):
        try:
            return parse_json(text, "it", RecipeError)
        except RecipeError as error:
            raise RecipeError(
                f'a list is written [0.2, 0.6] or ["a", "b"], got {shown(text)}: {error}'
            ) from None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
