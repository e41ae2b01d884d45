"""Schedules as flat keys, the way recipes and the command line write them."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from videosieve.errors import RecipeError
from videosieve.schedule.base import Schedule
from videosieve.schedule.broadcast import Broadcast
from videosieve.schedule.dense_first import DenseFirst
from videosieve.schedule.first_match import FirstMatch
from videosieve.schedule.table import Table

DENSE_KEYS = {"dense_steps": "steps", "dense_layers": "layers"}
REUSE_KEYS = {f"reuse_{field.name}": field.name for field in fields(Broadcast)}
PLAN_KEY = "plan"
SCHEDULE_KEYS = (*DENSE_KEYS, *REUSE_KEYS, PLAN_KEY)


def schedule_of(values: Mapping[str, Any]) -> Schedule:
    """The schedule that flat keys describe.

    Args:
        values: Some of `SCHEDULE_KEYS`. `dense_…` keys make a `DenseFirst`, `reuse_…` keys a `Broadcast`, both a
            `FirstMatch` of the two, `plan` a `Table`; none at all the default `DenseFirst`.

    Returns:
        The schedule.

    Raises:
        RecipeError: A value is outside its range, or a plan has other keys beside it.
    """
    dense = {name: values[key] for key, name in DENSE_KEYS.items() if key in values}
    reuse = {name: values[key] for key, name in REUSE_KEYS.items() if key in values}
    if PLAN_KEY in values:
        if dense or reuse:
            raise RecipeError(
                f"a plan says what happens at every step and layer, so no other schedule key may stand beside it; "
                f"got {', '.join(key for key in values if key != PLAN_KEY)}"
            )
        return Table(values[PLAN_KEY])
    parts = [DenseFirst(**dense)] if dense or not reuse else []
    parts += [Broadcast(**reuse)] if reuse else []
    return parts[0] if len(parts) == 1 else FirstMatch(tuple(parts))


def keys_of(schedule: Schedule) -> dict[str, Any]:
    """The flat keys of a schedule; `schedule_of` reads them back to an equal one.

    Raises:
        RecipeError: The schedule is none that keys can describe.
    """
    values: dict[str, Any] = {}
    for part in schedule.parts if isinstance(schedule, FirstMatch) else (schedule,):
        if isinstance(part, DenseFirst):
            values |= {key: getattr(part, name) for key, name in DENSE_KEYS.items()}
        elif isinstance(part, Broadcast):
            values |= {key: getattr(part, name) for key, name in REUSE_KEYS.items()}
        elif isinstance(part, Table):
            values[PLAN_KEY] = part.rows
    if not values or schedule_of(values) != schedule:
        raise RecipeError(
            f"recipes can write DenseFirst, Broadcast, FirstMatch of these two in this order, or a Table; "
            f"got {schedule}"
        )
    return values


def override_schedule(schedule: Schedule, values: Mapping[str, Any]) -> Schedule:
    """The same schedule with some keys changed or added."""
    return schedule_of({**keys_of(schedule), **values})
