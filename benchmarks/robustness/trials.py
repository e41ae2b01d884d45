"""One value in one field, one file: answered, refused, or wrong in one of three ways."""

import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.robustness.corpus import Kind, kinds
from benchmarks.robustness.damage import damages, encodings
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


def try_file(kind: Kind, content: bytes, expected: Any = None) -> tuple[str, str]:
    """Read a file of some content in a folder of its own.

    Args:
        kind: What is read.
        content: Its bytes.
        expected: What a reading must give; None where any answer may be right.

    Returns:
        One of OUTCOMES, and what was said.
    """
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind.write(Path(name))
        (Path(name) / kind.file).write_bytes(content)
        try:
            found = kind.read(Path(name))
        except VideosieveError as error:
            return (REFUSED if expected is None else LOST), str(error)
        except Exception as error:  # noqa: BLE001 - what is counted
            return RAW, f"{type(error).__name__}: {error}"
        if expected is not None and repr(found).replace(name, "") != expected:
            return NONSENSE, repr(found)[:200]
        return ANSWERED, ""


def sound(kind: Kind) -> tuple[bytes, str]:
    """The bytes of a sound file, and what a reading gives."""
    with tempfile.TemporaryDirectory() as name:
        kind.write(Path(name))
        content = (Path(name) / kind.file).read_bytes()
        return content, repr(kind.read(Path(name))).replace(name, "")


def try_encodings() -> Iterator[tuple[str, str, str, str]]:
    """Every text file in every encoding: kind, encoding, outcome, what was said."""
    for kind in kinds():
        if not kind.text:
            continue
        content, expected = sound(kind)
        for name, changed, same in encodings(content):
            outcome, said = try_file(kind, changed, expected if same else None)
            yield kind.name, name, NONSENSE if outcome == ANSWERED and not same else outcome, said


def try_damages(count: int) -> Iterator[tuple[str, str, str, str]]:
    """Every kind of file, damaged: kind, damage, outcome, what was said.

    Args:
        count: Random damages of each sort and kind.
    """
    for seed, kind in enumerate(kinds()):
        content, _ = sound(kind)
        for name, changed in damages(content, seed, count):
            yield kind.name, name, *try_file(kind, changed)
