"""Which field of an action takes interpolated values, and what a value may be there.

Every field is literal unless it is listed: SQL and PromQL text, patterns, connections, kinds, hosts and methods never
hold data. Nothing is parsed or evaluated here.
"""

import json
import re
from collections.abc import Callable
from enum import Enum
from typing import Any
from urllib.parse import quote

Path = tuple[str | int, ...]
"""The way to a field below its action, as written: ("params", "id") or ("command", 2)."""


class Take(Enum):
    """What a field does with interpolated values."""

    LITERAL = "nothing"
    NATIVE = "any value with its type"
    TEXT = "text"
    ARGUMENT = "text that Kubernetes expands"
    ARGV = "one whole argument"
    HEADER = "text on one line"
    URL_PATH = "percent-encoded path segments"
    LABEL = "a label value"
    NAME = "an object name"
    COUNT = "a whole number"


class RefusedError(ValueError):
    """A value does not fit its field; the message says what would."""


_ANY, _REST = "*", "**"
_CONTAINER = ("template", "spec", _ANY, _ANY)
_TAKES: dict[str, tuple[tuple[tuple[str, ...], Take], ...]] = {
    "logs": ((("selector", _ANY), Take.LABEL),),
    "get": ((("name",), Take.NAME), (("selector", _ANY), Take.LABEL)),
    "promql": ((("params", _REST), Take.NATIVE),),
    "http": (
        (("path",), Take.URL_PATH),
        (("query", _REST), Take.NATIVE),
        (("headers", _ANY), Take.HEADER),
        (("json", _REST), Take.NATIVE),
        (("body",), Take.TEXT),
    ),
    "sqlQuery": ((("params", _REST), Take.NATIVE),),
    "sqlExecute": (
        (("params", _REST), Take.NATIVE),
        (("statements", _ANY, "params", _REST), Take.NATIVE),
        (("before", "params", _REST), Take.NATIVE),
    ),
    "scale": ((("replicas",), Take.COUNT),),
    "exec": ((("command", _ANY), Take.ARGV),),
    "job": (
        (("command", _ANY), Take.ARGUMENT),
        (("env", _ANY), Take.ARGUMENT),
        ((*_CONTAINER, "command", _ANY), Take.ARGUMENT),
        ((*_CONTAINER, "args", _ANY), Take.ARGUMENT),
        ((*_CONTAINER, "env", _ANY, "value"), Take.ARGUMENT),
        ((*_CONTAINER, "volumeMounts", _ANY, "subPathExpr"), Take.ARGUMENT),
        (("template", "metadata", _REST), Take.TEXT),
        (("template", _REST), Take.NATIVE),
    ),
}
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def take_of(action: str, path: Path) -> Take:
    """Return what a field of an action takes."""
    rules = _TAKES[action]
    return next((take for pattern, take in rules if _covers(pattern, path)), Take.LITERAL)


def _covers(pattern: tuple[str, ...], path: Path) -> bool:
    if pattern[-1] == _REST:
        pattern, path = pattern[:-1], path[: len(pattern) - 1]
    return len(pattern) == len(path) and all(wanted in (_ANY, part) for wanted, part in zip(pattern, path, strict=True))


def piece(take: Take, value: Any) -> str:
    """Return an interpolated value as the piece of text that it becomes; raises `RefusedError`."""
    text = _text(value)
    match take:
        case Take.URL_PATH if not text:
            raise RefusedError("the value is empty, so the path would name something else")
        case Take.URL_PATH:
            return quote(text, safe="")
        case Take.ARGUMENT:
            return text.replace("$", "$$")  # Kubernetes reads $(NAME) as a variable, and $$ as $
        case _:
            return text


def checked(take: Take, value: Any) -> Any:
    """Return the finished value of a field that held an interpolation; raises `RefusedError`."""
    check = _CHECKS.get(take)
    return value if check is None else check(value)


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case bool() | int() | float():
            return json.dumps(value)
        case None:
            raise RefusedError("the value is null, and there is no text for it")
        case _:
            raise RefusedError(
                "a list or object is no text; it fits only where the field is one ${…} and takes any value"
            )


def climbs(path: str) -> bool:
    """Tell whether a URL's path leaves the one that it is put below."""
    return not {".", ".."}.isdisjoint(re.split(r"[/?#]", path))


def _url_path(path: str) -> str:
    if climbs(path):
        raise RefusedError("the path would climb: a segment is . or ..")
    return path


def _header(text: str) -> str:
    if _CONTROL.search(text):
        raise RefusedError("a header is one line, without control characters")
    return text


def _label(text: str) -> str:
    if _LABEL_VALUE.fullmatch(text) is None:
        raise RefusedError(f"{_brief(text)} is no label value (63 characters: letters, digits, - _ . inside)")
    return text


def _name(text: str) -> str:
    if len(text) > 253 or _OBJECT_NAME.fullmatch(text) is None:
        raise RefusedError(f"{_brief(text)} is no object name (lowercase letters, digits, - and .)")
    return text


def _count(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise RefusedError(f"{_brief(json.dumps(value))} is no number of replicas (a whole number from 0 on)")
    return value


def _brief(text: str) -> str:
    return json.dumps(text if len(text) <= 60 else f"{text[:59]}…", ensure_ascii=False)


_CHECKS: dict[Take, Callable[[Any], Any]] = {
    Take.URL_PATH: _url_path,
    Take.HEADER: _header,
    Take.LABEL: _label,
    Take.NAME: _name,
    Take.COUNT: _count,
}
