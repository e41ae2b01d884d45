"""Values of every sort, and what each kind of field must take: said here once more, apart from the library's words."""

import math
import numbers
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

VALUES: tuple[Any, ...] = (
    *(None, True, False, np.True_, 0, 1, -1, 2, 3, 64, 65_536, 65_537, 10_001),
    *(2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 2**70, 10**400, -(10**400), np.int64(3), np.uint8(200)),
    *(0.0, -0.0, 0.5, 1.0, 1.5, -0.5, 1e-300, 1e308, math.nan, math.inf, -math.inf, np.float32(0.5)),
    *(np.float64("nan"), Fraction(1, 2), Decimal("0.5"), 1j, 0.5 + 0j),
    *("", "no", "off", "false", "true", "0", "1", "0.3", "nan", "svg", "sound", "text", "a\ud800", "\0", "x" * 10**5),
    *(b"", b"svg", bytearray(b"1"), [], (), [1], [0.5], (1, 2), (1, 2, 3), (0, 1, 2), [[]], [[1]], [["sound"]]),
    *(["FF", "FA"], ("F",), [None], [math.nan], [True, True, True], (1.0, 2.0, 3.0), {}, {"a": 1}, {1: "a"}),
    *({"a": "b"}, {1, 2, 3}, range(3), object(), int, len, lambda: 1, Path("x"), Path("a\0b"), slice(3)),
    *(np.array(1), np.array([1, 2, 3]), np.zeros((2, 2)), torch.tensor(1), torch.tensor(0.5), torch.zeros(2, 2)),
    *(torch.ones(1, 1, 1, 1, dtype=torch.bool), torch.ones(1, 1, 1, 1), ValueError("x")),
)  # fmt: skip

Fits = Callable[[Any], bool]


def is_whole(value: Any, low: float = -(2**63), high: float = 2**63 - 1) -> bool:
    """A whole number of at most 64 bits in [low, high]."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool_)
    return whole and max(low, -(2**63)) <= int(value) <= min(high, 2**63 - 1)


def is_real(value: Any, inside: Fits = lambda _: True) -> bool:
    """A finite number; whole ones of at most 64 bits."""
    if isinstance(value, numbers.Integral):
        return is_whole(value) and inside(int(value))
    real = isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)
    return real and math.isfinite(value) and inside(float(value))


def is_text(value: Any) -> bool:
    """Text without half characters."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def is_part(value: Any) -> bool:
    """A fraction with a decimal point, or a count without one."""
    if isinstance(value, numbers.Integral):
        return is_whole(value, 0)
    return is_real(value, lambda number: 0 <= number <= 1)


def listed(item: Fits) -> Fits:
    """A list or tuple of such."""
    return lambda value: isinstance(value, list | tuple) and all(map(item, value))


def word(*words: str) -> Fits:
    """One of these."""
    return lambda value: isinstance(value, str) and value in words


def triple(value: Any) -> bool:
    """Three whole numbers of at least 1."""
    return listed(lambda side: is_whole(side, 1))(value) and len(value) == 3


def or_none(item: Fits) -> Fits:
    """Such, or nothing."""
    return lambda value: value is None or item(value)


def share(value: Any) -> bool:
    """A number in (0, 1]."""
    return is_real(value, lambda number: 0 < number <= 1)


def fraction(value: Any) -> bool:
    """A number in [0, 1]."""
    return is_real(value, lambda number: 0 <= number <= 1)


def above(low: float, high: float = math.inf) -> Fits:
    """A number between these, ends left out."""
    return lambda value: is_real(value, lambda number: low < number < high)


def least(low: float) -> Fits:
    """A number from this on."""
    return lambda value: is_real(value, lambda number: low <= number)


def truth(value: Any) -> bool:
    """True or False."""
    return isinstance(value, bool | np.bool_)


def whole(low: float = -(2**63), high: float = 2**63 - 1) -> Fits:
    """A whole number in [low, high]."""
    return lambda value: is_whole(value, low, high)


def nothing(value: Any) -> bool:
    """None of `VALUES`: the field takes objects of the library."""
    del value
    return False


BLOCK = or_none(whole(1, 65_536))
SEED = whole(0)
SIZE = or_none(whole(1, 65_536))
