"""`videosieve methods`: what can be chosen."""

from typing import TYPE_CHECKING, Annotated

import typer

from videosieve.cli.console import listed, paragraph, say

if TYPE_CHECKING:
    from videosieve.planning.catalogue import MethodEntry


def methods(
    name: Annotated[
        str | None,
        typer.Argument(help="Say everything of this one; default: a line of each.", show_default=False),
    ] = None,
) -> None:
    """List the methods, a line each; with a name: its paper, parameters and recipes.

    videosieve methods svg
    """
    from videosieve.planning.catalogue import common_settings, describe_methods, describe_reuse
    from videosieve.recipe import bundled_recipes

    entries = [*describe_methods(), describe_reuse()]
    if name is not None:
        _show(_find(name, entries))
        paragraph(f"every method: {'  '.join(common_settings().split())}")
        return
    listed([(entry.name, entry.idea) for entry in entries])
    say("")
    paragraph(f"every method takes: {'  '.join(common_settings().split())}")
    if names := bundled_recipes():
        paragraph(f"bundled recipes: {', '.join(names)}")
    say("more of one: videosieve methods NAME")


def _find(name: str, entries: "list[MethodEntry]") -> "MethodEntry":
    from videosieve.errors import RecipeError
    from videosieve.fields import nearest

    found = next((entry for entry in entries if entry.name == name), None)
    if found is None:
        names = [entry.name for entry in entries]
        raise RecipeError(f"no method {name!r}{nearest(name, names)}; there are {', '.join(names)}")
    return found


def _show(entry: "MethodEntry") -> None:
    from videosieve.recipe import Recipe, bundled_recipes

    say(entry.name)
    paragraph(entry.idea, "  ")
    if entry.paper:
        paragraph(entry.paper, "  ")
    say("parameters (--set):" if entry.parameters else "no parameters")
    for parameter in entry.parameters:
        say(f"  {parameter}")
        if meaning := entry.meanings.get(parameter.split("=")[0]):
            paragraph(meaning, "      ")
    recipes = [
        one
        for one in bundled_recipes()
        if entry.name in (one.split("-")[0], Recipe.of(one).method.name)  # pab is a schedule, of any method
    ]
    if recipes:
        paragraph(f"bundled recipes: {', '.join(recipes)}")
