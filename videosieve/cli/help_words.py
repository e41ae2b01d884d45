"""The command class of every verb: what an option takes is said in a word, and a switch takes nothing."""

from pathlib import Path
from typing import Any, get_args

from typer.core import TyperCommand

_WORDS = {str: "TEXT", int: "N", float: "X", Path: "PATH"}


class Verb(TyperCommand):
    """A verb whose help has no types of Python in it."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, each with a word for its value; none for a switch."""
        parameters = super().get_params(ctx)
        name_values(parameters)
        return parameters


def name_values(parameters: list[Any]) -> None:
    """Give parameters that have no word for their value one.

    Args:
        parameters: Options and arguments of typer, changed in place.
    """
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        elif parameter.metavar is None and parameter.param_type_name == "argument":
            parameter.display_type_rich = _nothing  # its name says what it takes
        elif parameter.metavar is None:
            parameter.metavar = _word(parameter)


def _nothing(ctx: Any) -> None:
    del ctx


def _word(parameter: Any) -> str | None:
    """None leaves the choice to typer: older ones have such words of its own."""
    annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    inner = get_args(annotation)
    return _WORDS.get(inner[0] if inner else annotation)  # pyright: ignore[reportArgumentType]
