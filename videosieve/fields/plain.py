"""Values without parts: truth, whole and other numbers, text, paths."""

import math
import numbers
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_LEAST, _MOST = -(2**63), 2**63 - 1
Check = Callable[[Any], Any]


class Misfit(Exception):
    """A value does not fit: where, what must hold, the value, the way out."""

    def __init__(self, law: str, value: object, hint: str = "", place: str = "", said: bool = False) -> None:
        super().__init__(law)
        self.law, self.value, self.hint, self.place, self.said = law, value, hint, place, said

    def inside(self, place: str) -> "Misfit":
        """The same, of a part of a larger value."""
        return Misfit(self.law, self.value, self.hint, place + self.place, self.said)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise Misfit("must be true or false", value, "write it without quotes")
    return bool(value)


def _whole(value: Any) -> int:
    if (
        type(value) is int and _LEAST <= value <= _MOST
    ):  # nearly always; masks and layouts are made at every call
        return value
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise Misfit("must be a whole number", value)
    if not _LEAST <= (plain := int(value)) <= _MOST:
        raise Misfit("must be a whole number of at most 64 bits", value)
    return plain if type(value) is not int else value


def _number(value: Any) -> float | int:
    if type(value) is float and math.isfinite(value):
        return value
    law = "must be a finite number"
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise Misfit(law, value)
    if isinstance(value, numbers.Integral):
        return _whole(value)
    if not math.isfinite(plain := float(value)):
        raise Misfit(law, value)
    return value if type(value) is float else plain


def _measured(value: Any) -> float | int:
    """A number that was measured: NaN and infinity are such, as a PSNR of equal videos is."""
    return value if isinstance(value, float) else _number(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Misfit("must be text", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Misfit("must be text that UTF-8 can hold, without half characters", value) from None
    return value


def _path(value: Any) -> Path:
    if not isinstance(value, str | os.PathLike) or "\0" in str(value):
        raise Misfit("must be the path of a file", value)
    return value if isinstance(value, Path) else Path(value)


Plain = dict[Any, Check]
PLAIN: Plain = {
    bool: _truth,
    int: _whole,
    float: _number,
    str: _text,
    Path: _path,
}

MEASURED: Plain = {**PLAIN, float: _measured}
