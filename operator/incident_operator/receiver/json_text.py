"""Reads JSON from strangers: refuses what Python's parser would let through or stumble over.

Python takes NaN, lets the last of two equal keys win, and fails in its own ways on deep nesting and on numbers of
thousands of digits. A few megabytes of `[],[],` would be millions of objects, so what a body holds, and how deep, is
counted first.
"""

import json
import math
import re
from typing import Any, NoReturn

from incident_operator.core import json_depth, texts
from incident_operator.core.outcomes import Json
from incident_operator.receiver.rejections import MalformedError, Rejection

_DIGITS = 19
"""Of a 64-bit number."""
ELEMENTS = 300_000
"""Lists, objects and commas in one body: 4 MiB of the shortest alerts that Alertmanager can send hold some 230,000."""
_COUNTED = (b",", b"[", b"{")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SHOWN = 40
_NUL = "U+0000"


def read(body: bytes) -> Json:
    """Return the decoded body. Raises `MalformedError`, and nothing else, for whatever is not plain JSON."""
    _check_size(body)
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
    except UnicodeDecodeError as error:
        raise MalformedError("body", f"is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise MalformedError("body", f"is not JSON: {error.msg} at {place}") from error


def _check_size(body: bytes) -> None:
    # texts may hold as many commas as they like; they are looked for only where there are many
    if _elements(body) > ELEMENTS and _elements(_STRING.sub(b"", body)) > ELEMENTS:
        raise MalformedError("body", f"holds more than {ELEMENTS} lists, objects and commas")
    if json_depth.deeper_than(body):
        raise MalformedError("body", f"is nested more than {json_depth.MOST} levels deep")


def _elements(body: bytes) -> int:
    return sum(map(body.count, _COUNTED))


def half_characters(decoded: Json) -> Rejection:
    """Return where half of a surrogate pair stands (a lone `U+D800`, say), given that one does."""
    waiting: list[tuple[str, Any]] = [("", decoded)]
    while waiting:
        place, value = waiting.pop()
        character = texts.not_storable(value) if isinstance(value, str) else None
        if character and character != _NUL:
            return Rejection(place or "body", f"holds {character}, which is no text")
        waiting.extend(_inside(place, value))
    return Rejection("body", "holds half of a surrogate pair")


def _inside(place: str, value: Json) -> list[tuple[str, Json]]:
    if isinstance(value, list):
        return [(f"{place}[{index}]", item) for index, item in enumerate(value)]
    if isinstance(value, dict):
        fields = [(f"{place}.{texts.escaped(key, _SHOWN)}".removeprefix("."), key, item) for key, item in value.items()]
        return [*((field, key) for field, key, _ in fields), *((field, item) for field, _, item in fields)]
    return []


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise MalformedError(texts.escaped(_first_repeated(pairs), _SHOWN), "stands twice in one object")
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
    raise MalformedError(f"number {name}", "is no JSON number")
