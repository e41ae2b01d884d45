"""Dataclasses from what a file says: every key known, none missing, every value of its type."""

from dataclasses import MISSING, fields
from functools import cache
from typing import Any, TypeVar, get_type_hints

from videosieve.errors import VideosieveError
from videosieve.fields.annotations import compile_annotation
from videosieve.fields.check import shown
from videosieve.fields.plain import MEASURED, Check, Misfit

T = TypeVar("T")


def from_table(cls: type[T], values: Any, where: str, error: type[VideosieveError]) -> T:
    """Make a dataclass from a table as `dataclasses.asdict` and JSON give it.

    Args:
        cls: The dataclass; its annotations are what counts. Numbers may be NaN or infinite, as measured ones can be.
        values: The table.
        where: What it is, for messages: file and line.
        error: What to raise.

    Returns:
        The instance.

    Raises:
        VideosieveError: Of the class `error`: it is no table, a key is unknown or missing, or a value of another type.
    """
    name = cls.__name__
    if not isinstance(values, dict):
        raise error(f"{where} must be a {name}, a table of names and values, got {shown(values)}")
    known, needed, checks = _described(cls)
    if unknown := [key for key in values if key not in known]:
        raise error(
            f"{where} is no {name}: it has {shown(unknown[0])}; a {name} has {', '.join(sorted(known))}"
        )
    if lacking := [key for key in needed if key not in values]:
        raise error(f"{where} is no {name}: it lacks {lacking[0]}; a {name} has {', '.join(sorted(known))}")
    plain = {}
    for key, value in values.items():
        try:
            plain[key] = checks[key](value)
        except Misfit as misfit:
            place = key + misfit.place
            raise error(f"{where} is no {name}: {place} {misfit.law}, got {shown(misfit.value)}") from None
    return cls(**plain)


@cache
def _described(cls: Any) -> tuple[frozenset[str], tuple[str, ...], dict[str, Check]]:
    hints = get_type_hints(cls, include_extras=True)
    known = [field for field in fields(cls) if field.init]
    needed = tuple(f.name for f in known if f.default is MISSING and f.default_factory is MISSING)
    checks = {field.name: compile_annotation(hints[field.name], MEASURED) for field in known}
    return frozenset(checks), needed, checks
