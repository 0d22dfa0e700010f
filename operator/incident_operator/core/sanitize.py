"""What the outside world says, made fit to be stored and compared: clean texts, and numbers that JSON can carry."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from incident_operator.core import json_depth, texts

_EXACT = 2**53 - 1
"""Beyond this an integer may come back from a JSON reader as another one (RFC 8785 §3.2.2.3)."""
_DECIMAL_BITS = 1024


def text(value: str, length: int) -> str:
    """Return a text on one line, of characters that can be seen, at most `length` long."""
    return texts.cut(texts.visible(value), length)


def cleaned(value: Any) -> Any:
    """Return decoded JSON whose texts, keys included, every database takes."""
    return _each_text(texts.cleaned, value)


def exact(value: Any) -> Any:
    """Return decoded JSON whose texts, keys included, are one line each that says exactly what it is, for a plan.

    Null is written `null`, since etcd keeps none in objects, and one that is sent sets something to nothing.
    """
    return canonical(_each_text(texts.exact, value, null=texts.NULL))


def unmistakable(value: Any) -> Any:
    """Return decoded JSON whose texts, keys included, are one line each, for the status; `plain` reads it."""
    return _each_text(texts.unmistakable, value)


def plain(value: Any) -> Any:
    """Return the decoded JSON that `unmistakable` wrote down."""
    return _each_text(texts.plain, value)


def result(value: Any, depth: int = 0) -> Any:
    """Return what an action brought back as JSON that expressions can take; what is nested too deep is left out.

    Whole numbers beyond 64 bits become texts, texts lose NUL and halves of surrogate pairs, keys are texts. A double stays one,
    NaN and infinities too: what is stored of a result goes through `finite`.
    """
    match value:
        case str():
            return texts.storable(value)
        case bool() | None:
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else _digits(value)
        case float():
            return value
        case Mapping() | list() | tuple() if depth >= json_depth.WRAPPED:
            return "[nested too deep]"
        case Mapping():
            return {texts.storable(str(key)): result(item, depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [result(item, depth + 1) for item in value]
        case _:
            return texts.storable(str(value))


def finite(value: Any) -> Any:
    """Return a result as JSON can say it: numbers that are not finite are the texts `NaN`, `Infinity` and `-Infinity`."""
    match value:
        case float() if not math.isfinite(value):
            return _not_finite(value)
        case Mapping():
            return {key: finite(item) for key, item in value.items()}
        case list() | tuple():
            return [finite(item) for item in value]
        case _:
            return value


def canonical(value: Any) -> Any:
    """Return decoded JSON that is the same after it went through etcd: no nulls in objects, no inexact numbers."""
    match value:
        case bool():
            return value
        case int():
            return value if abs(value) <= _EXACT else str(value)
        case float():
            return _number(value)
        case Mapping():
            return {str(key): canonical(item) for key, item in value.items() if item is not None}
        case list() | tuple():
            return [canonical(item) for item in value]
        case _:
            return value


def distinct(value: Any) -> Any:
    """Return decoded JSON like `canonical`, but such that no two different values become one."""
    match value:
        case bool():
            return value
        case int() if abs(value) > _EXACT:
            return {"int": _digits(value)}
        case Mapping():
            return {str(key): distinct(item) for key, item in value.items()}
        case list() | tuple():
            return [distinct(item) for item in value]
        case _:
            return canonical(value)


def _each_text(change: Callable[[str], str], value: Any, null: str | None = None) -> Any:
    match value:
        case str():
            return change(value)
        case Mapping():
            return {change(str(key)): _each_text(change, item, null) for key, item in value.items()}
        case list() | tuple():
            return [_each_text(change, item, null) for item in value]
        case None:
            return null
        case _:
            return value


def _digits(value: int) -> str:
    # Python refuses to write thousands of digits, but for hexadecimal ones
    return str(value) if value.bit_length() < _DECIMAL_BITS else hex(value)


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _number(value: float) -> int | float | str:
    if not math.isfinite(value):
        return str(value)
    return canonical(int(value)) if value.is_integer() else value
