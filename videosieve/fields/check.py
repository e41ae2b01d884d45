"""Holds the values of an instance or of a call against what is declared."""

import reprlib
from dataclasses import fields
from functools import cache
from typing import Any, get_type_hints

import numpy as np
import torch

from videosieve.errors import VideosieveError
from videosieve.fields.annotations import compile_annotation, compiled
from videosieve.fields.plain import Check, Misfit

LONGEST = 160  # characters of a value in a message


def check_fields(instance: Any, error: type[VideosieveError]) -> None:
    """Check every field of a frozen dataclass; to be called first in its `__post_init__`.

    Args:
        instance: The dataclass. Its fields are replaced by their plain values.
        error: What to raise.

    Raises:
        VideosieveError: Of the class `error`: a value is of another type or outside its range.
    """
    if (
        torch.compiler.is_compiling()
    ):  # inside a graph: the tracer has typed every value, and cannot follow this
        return
    for name, check in _checks(type(instance)):
        value = getattr(instance, name)
        plain = _checked(name, value, check, error)
        if plain is not value:
            object.__setattr__(instance, name, plain)


def checked(name: str, value: Any, annotation: Any, error: type[VideosieveError]) -> Any:
    """A single value, for parameters of functions and options of the command line.

    Args:
        name: What messages call it.
        value: It.
        annotation: As in a dataclass: `Count`, `Annotated[float, In("(0, 100]")] | None`, …
        error: What to raise.

    Returns:
        The value as plain Python.

    Raises:
        VideosieveError: Of the class `error`: the value does not fit.
    """
    return _checked(name, value, compiled(annotation), error)


def shown(value: object) -> str:
    """A value for a message, a line of at most LONGEST characters whatever it is."""
    if isinstance(value, int) and value.bit_length() > 256:  # Python refuses to write the longest
        return f"a whole number of {value.bit_length()} bits"
    shape = getattr(value, "shape", None)
    if shape is not None and not isinstance(value, np.generic):
        return f"a {type(value).__name__} {getattr(value, 'dtype', '')} {list(shape)}"
    text = _SHORT.repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100
_SHORT.maxtuple = _SHORT.maxlist = _SHORT.maxdict = 8


def _checked(name: str, value: Any, check: Check, error: type[VideosieveError]) -> Any:
    try:
        return check(value)
    except Misfit as misfit:
        place, hint = name + misfit.place, f"; {misfit.hint}" if misfit.hint else ""
        raise error(f"{place} {misfit.law}, got {place}={shown(misfit.value)}{hint}") from None


@cache
def _checks(cls: type) -> tuple[tuple[str, Check], ...]:
    try:
        hints = get_type_hints(cls, include_extras=True)
    except NameError:  # a class of somebody else whose annotations exist for type checkers only
        return ()
    return tuple((field.name, compile_annotation(hints[field.name])) for field in fields(cls) if field.init)
