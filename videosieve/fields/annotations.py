"""From an annotation to the function that checks a value and hands it back as plain Python."""

import builtins
import math
import numbers
import types
import typing
from collections import abc
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from videosieve.fields.plain import PLAIN, Check, Misfit, Plain
from videosieve.fields.words import In, OneOf, Says


@cache
def compiled(annotation: Any) -> Check:
    """The check that an annotation declares: it gives the plain value, or raises a Misfit."""
    return compile_annotation(annotation)


def compile_annotation(annotation: Any, plain: Plain = PLAIN) -> Check:
    """The same for annotations that may not be hashable.

    Args:
        annotation: A type, a union, a range, …
        plain: What types without parts take: PLAIN, or MEASURED where a number may be NaN.
    """
    inner = get_args(annotation)
    match get_origin(annotation):
        case None if annotation in plain:
            check = plain[annotation]
        case types.UnionType | typing.Union:
            check = _either(inner, plain)
        case typing.Annotated:
            check = _restrict(inner[0], inner[1:], plain)
        case typing.Literal:
            check = _one_of(OneOf(tuple(inner)))
        case builtins.tuple:
            check = _tuple_of(inner, plain)
        case builtins.list:
            check = _list_of(inner[0], plain)
        case builtins.dict | abc.Mapping:
            check = _mapping_of(inner, plain)
        case origin:
            check = _instance(origin or annotation)
    return check


def _restrict(base: Any, rules: tuple[Any, ...], plain: Plain) -> Check:
    check = compile_annotation(base, plain)
    for rule in rules:
        if isinstance(rule, In):
            check = _in_range(check, rule, whole=base is int)
        elif isinstance(rule, OneOf):
            check = _one_of(rule)
        elif isinstance(rule, Says):
            check = _saying(check, rule)
    return check


def _in_range(check: Check, rule: In, *, whole: bool) -> Check:
    low, high = rule.ends
    default = f"must lie in {rule.range}"
    if math.isinf(high):
        default = f"must be a finite number {'>=' if rule.range[0] == '[' else 'above'} {low:g}"
    if whole:
        span = f">= {low:g}" if math.isinf(high) else f"in {rule.range}"
        default = f"must be a whole number {span}"
    law = rule.law or default
    holds_low, holds_high = rule.range[0] == "[", rule.range[-1] == "]"
    least, most = _ends_of_whole(rule) if whole else (1, 0)

    def fit(value: Any) -> Any:
        if type(value) is int and least <= value <= most:  # nearly always, and at every attention call
            return value
        try:
            plain = check(value)
        except Misfit as misfit:
            raise Misfit(law, value, rule.hint, said=misfit.said or bool(rule.law)) from None
        above = low <= plain if holds_low else low < plain
        if not above or not (plain <= high if holds_high else plain < high):
            raise Misfit(law, value, rule.hint, said=bool(rule.law))
        return plain

    return fit


def _ends_of_whole(rule: In) -> tuple[int, int]:
    """The least and the largest whole number of 64 bits in a range."""
    low, high = (min(max(end, -(2.0**63)), 2.0**63) for end in rule.ends)
    least = math.ceil(low) + (low == math.ceil(low) and rule.range[0] == "(")
    most = math.floor(high) - (high == math.floor(high) and rule.range[-1] == ")")
    return least, min(most, 2**63 - 1)


def _saying(check: Check, rule: Says) -> Check:
    def fit(value: Any) -> Any:
        try:
            return check(value)
        except Misfit as misfit:
            if misfit.said:  # a part of the value has its own sentence
                raise
            raise Misfit(rule.law, value, rule.hint, said=True) from None

    return fit


def _one_of(rule: OneOf) -> Check:
    *most, last = (repr(word) for word in rule.words)
    law = rule.law or f"must be {', '.join(most)} or {last}"

    def fit(value: Any) -> Any:
        if not isinstance(value, str) or value not in rule.words:
            raise Misfit(law, value, rule.hint, said=bool(rule.law))
        return value

    return fit


def _either(parts: tuple[Any, ...], plain: Plain) -> Check:
    some = [part for part in parts if part is not type(None)]
    optional = len(some) < len(parts)
    bases = [get_args(part)[0] if get_origin(part) is Annotated else part for part in some]
    exact = float in bases and int in bases
    checks = [
        (compile_annotation(part, plain), exact and base is float)
        for part, base in zip(some, bases, strict=True)
    ]

    def fit(value: Any) -> Any:
        if optional and value is None:
            return None
        misfits = []
        for check, only_float in checks:
            if only_float and isinstance(value, numbers.Integral):
                continue
            try:
                return check(value)
            except Misfit as misfit:
                misfits.append(misfit)
        if len(misfits) == 1:
            raise misfits[0]
        laws = dict.fromkeys(misfit.law.removeprefix("must ") for misfit in misfits)
        raise Misfit(f"must {' or '.join(laws)}", value)

    return fit


def _tuple_of(parts: tuple[Any, ...], plain: Plain) -> Check:
    parts = () if parts == ((),) else parts  # what Python 3.10 says of tuple[()]
    many = len(parts) == 2 and parts[1] is Ellipsis
    checks = [compile_annotation(part, plain) for part in parts if part is not Ellipsis]
    law = "must be a list" if many else f"must be a list of {len(checks)}"

    def fit(value: Any) -> Any:
        if many and type(value) is tuple and not value:
            return value
        if not isinstance(value, tuple | list) or not (many or len(value) == len(checks)):
            raise Misfit(law, value)
        each = checks * len(value) if many else checks
        plain = tuple(
            _at(place, check, item) for place, (check, item) in enumerate(zip(each, value, strict=True))
        )
        same = type(value) is tuple and all(a is b for a, b in zip(plain, value, strict=True))
        return value if same else plain

    return fit


def _list_of(part: Any, plain: Plain) -> Check:
    check = compile_annotation(part, plain)

    def fit(value: Any) -> Any:
        if not isinstance(value, tuple | list):
            raise Misfit("must be a list", value)
        found = [_at(place, check, item) for place, item in enumerate(value)]
        same = type(value) is list and all(a is b for a, b in zip(found, value, strict=True))
        return value if same else found

    return fit


def _mapping_of(parts: tuple[Any, ...], plain: Plain) -> Check:
    key_check, check = (compile_annotation(part, plain) for part in parts)

    def fit(value: Any) -> Any:
        if not isinstance(value, abc.Mapping):
            raise Misfit("must be a table of names and values", value)
        for key, item in value.items():
            key_check(key)
            _at(key, check, item)
        return value

    return fit


def _at(place: Any, check: Check, item: Any) -> Any:
    try:
        return check(item)
    except Misfit as misfit:
        raise misfit.inside(f"[{place!r}]") from None


def _instance(cls: Any) -> Check:
    if cls is Any or not isinstance(cls, type):  # Any, a type variable, a protocol of somebody else
        return lambda value: value

    def fit(value: Any) -> Any:
        if not isinstance(value, cls):
            raise Misfit(f"must be a {cls.__name__}", value)
        return value

    return fit
