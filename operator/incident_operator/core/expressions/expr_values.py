"""JSON into expressions and back: what the library would crash on, cut short or misread is made harmless here.

Measured on cel-expr-python 0.1.3: it cuts a text at NUL, fails on lone surrogates and on integers beyond 64 bits, and
crashes the process on nesting beyond its stack and on reading an optional inside a list or map as a whole.
"""

import base64
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from incident_operator.core import json_depth

MAX_DEPTH = json_depth.WRAPPED
REPLACEMENT = "\ufffd"
"""Stands for NUL and for lone surrogates."""

_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


class UnusableError(ValueError):
    """A value that an expression cannot take or give; the message says why."""


def clean(text: str) -> str:
    """Return the text with U+FFFD for every character that no database, header or shell would take."""
    return _UNUSABLE.sub(REPLACEMENT, text)


def to_cel(value: Any, depth: int = 0) -> Any:
    """Return decoded JSON as the library takes it; raises `UnusableError` for nesting beyond `MAX_DEPTH`."""
    if depth > MAX_DEPTH:
        raise UnusableError(f"the data is nested deeper than {MAX_DEPTH} levels")
    match value:
        case None | bool():
            return value
        case float():
            return float(value)  # of what the database sent there may be more than a double
        case str():
            return clean(value)
        case int():
            return value if _INT_MIN <= value <= _INT_MAX else _double(value)
        case Mapping():
            return {to_cel(str(key)): to_cel(item, depth + 1) for key, item in value.items()}
        case Sequence():
            return [to_cel(item, depth + 1) for item in value]
        case _:
            raise UnusableError(f"the data holds a {type(value).__name__}, which is not JSON")


def longest(value: Any) -> int:
    """Return the number of elements of the longest list or map in decoded JSON."""
    found, left = 0, [value]
    while left:
        each = left.pop()
        if isinstance(each, Mapping):
            each = each.values()
        elif isinstance(each, str) or not isinstance(each, Sequence):
            continue
        found = max(found, len(each))
        left.extend(each)
    return found


def to_json(value: Any) -> Any:
    """Return the library's value as JSON; raises `UnusableError` for an error and for what JSON cannot say."""
    kind = value.type().name()
    if kind.startswith("LIST"):
        return [to_json(item) for item in value.value()]
    if kind.startswith("MAP"):
        return {clean(_key(key)): to_json(item) for key, item in value.value().items()}
    if kind == "ERROR":
        raise UnusableError(_error_text(value))
    return _scalar(kind, value.plain_value())


def _scalar(kind: str, plain: Any) -> Any:
    match plain:
        case str():
            return clean(plain)
        case None | bool() | int():
            return plain
        case float() if math.isfinite(plain):
            return plain
        case float():
            raise UnusableError("the number is not finite (a division by zero?)")
        case bytes() | bytearray():
            return base64.b64encode(plain).decode()
        case datetime():
            return plain.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return f"{plain.total_seconds():.9f}".rstrip("0").rstrip(".") + "s"
        case _:
            raise UnusableError(f"a value of CEL type {kind.lower()} cannot be kept")


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return str(key).lower()
    return str(key)


def _error_text(value: Any) -> str:
    try:
        return str(value.plain_value())
    except TypeError:  # the library types an optional as an error, and cannot say more
        return "the value is optional; end it with .orValue(…)"


def _double(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
