"""One value in one field: answered, refused, or wrong in one of three ways."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from benchmarks.robustness.declared import Declared, declared
from benchmarks.robustness.values import VALUES
from videosieve.errors import VideosieveError

ANSWERED, REFUSED = "answered", "refused"
NONSENSE, LOST, RAW = "accepted nonsense", "refused what is right", "raw exceptions"
OUTCOMES = (ANSWERED, REFUSED, NONSENSE, LOST, RAW)


def try_value(entry: Declared, name: str, value: Any) -> tuple[str, str]:
    """Construct with one value.

    Args:
        entry: The class.
        name: The field.
        value: Its value.

    Returns:
        One of OUTCOMES, and what was said.
    """
    try:
        fits = entry.fields[name](value)
    except Exception as error:  # noqa: BLE001 - an oracle that cannot judge a value calls it wrong
        fits, _ = False, error
    try:
        made = entry.cls(**{**entry.others, name: value})
    except VideosieveError as error:
        return (LOST if fits else REFUSED), str(error)
    except Exception as error:  # noqa: BLE001 - what is counted
        return RAW, f"{type(error).__name__}: {error}"
    return (ANSWERED if fits else NONSENSE), repr(getattr(made, name))[:100]


def try_all() -> Iterator[tuple[str, str, Any, str, str]]:
    """Every value in every declared field: class, field, value, outcome, what was said."""
    for entry in declared():
        for name in entry.fields:
            for value in VALUES:
                outcome, said = try_value(entry, name, value)
                yield entry.cls.__name__, name, value, outcome, said


def count_all() -> Counter[str]:
    """How often each outcome came."""
    return Counter(outcome for *_, outcome, _ in try_all())
