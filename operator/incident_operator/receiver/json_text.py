"""Reads one JSON value from strangers: refuses what Python's parser would let through or stumble over.

Python takes NaN, lets the last of two equal keys win, and fails in its own ways on deep nesting and on numbers of
thousands of digits. A few megabytes of `[],[],` would be millions of objects, so what a text holds, and how deep, is
counted first.
"""

import json
import math
import re
from typing import Any, NoReturn

from incident_operator.core import json_depth, texts
from incident_operator.core.outcomes import Json
from incident_operator.receiver.rejections import MalformedError

_DIGITS = 400
"""Of one number; Go writes a large float, such as a value that Grafana sends, with all its digits."""
ELEMENTS = 300_000
"""Lists, objects and commas in one value; an alert has some fifty."""
_COUNTED = (b",", b"[", b"{")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_HALVES = re.compile("[\ud800-\udfff]")
_SHOWN = 40


def read(body: bytes) -> Json:
    """Return what a text says. Raises `MalformedError`, and nothing else, for whatever is not plain JSON.

    Bytes and escapes that are not text become U+FFFD, as Go reads them, and thus Alertmanager itself; tabs and line ends need no escape.
    """
    _check_size(body)
    try:
        decoded = _DECODER.decode(body.decode("utf-8", "replace"))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise MalformedError("body", f"is not JSON: {error.msg} at {place}") from error
    return _without_halves(decoded) if _HALF.search(body) else decoded


def _check_size(body: bytes) -> None:
    # texts may hold as many commas as they like; they are looked for only where there are many
    if _elements(body) > ELEMENTS and _elements(_STRING.sub(b"", body)) > ELEMENTS:
        raise MalformedError("body", f"holds more than {ELEMENTS} lists, objects and commas")
    if json_depth.deeper_than(body):
        raise MalformedError("body", f"is nested more than {json_depth.MOST} levels deep")


def _elements(body: bytes) -> int:
    return sum(map(body.count, _COUNTED))


def _without_halves(value: Any) -> Any:
    if isinstance(value, str):
        return _HALVES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_halves(item) for item in value]
    if isinstance(value, dict):
        return {_without_halves(key): _without_halves(item) for key, item in value.items()}
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise MalformedError(texts.escaped(_first_repeated(pairs), _SHOWN), "is set twice in one object")
    return found


def _first_repeated(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return key
        seen.add(key)
    raise AssertionError("called for an object without repeated keys")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _DIGITS:
        raise MalformedError(f"number {texts.escaped(digits, _SHOWN)}", f"has more than {_DIGITS} digits")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise MalformedError(f"number {texts.escaped(digits, _SHOWN)}", "is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise MalformedError(f"number {name}", "is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant, strict=False
)
