"""JSON as lines of YAML that say exactly what it is: each text in double quotes on one line, so that none can look like another."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from incident_operator.core import texts

_WIDTH = 100
"""Lists and objects of plain values are written on one line where that is no longer than this."""
_INDENT = "  "
_PLAIN_KEY = re.compile(r"(?:[A-Za-z_]|\.[A-Za-z_]{4})[A-Za-z0-9_./-]*")
"""Of what begins with a dot, `.nan`, `.inf` and `.5` are numbers."""
_NO_KEYS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""What YAML readers take for something else than a text."""
_FIRST = ("apiVersion", "kind", "metadata", "name", "image", "command", "args")
"""Keys that people look for first; the others follow in the order of the alphabet."""


def of(value: Any) -> list[str]:
    """Return decoded JSON as lines of YAML, the same for the same value whatever the order of its keys."""
    return list(_lines(value))


def _lines(value: Any) -> Iterator[str]:
    if (short := _on_one_line(value)) is not None:
        yield short
    elif isinstance(value, Mapping):
        for key in _sorted(value):
            yield from _entry(f"{_key(key)}:", value[key])
    else:
        for item in value:
            first, *others = _lines(item)
            yield f"- {first}"
            yield from (f"{_INDENT}{line}" for line in others)


def _entry(key: str, value: Any) -> Iterator[str]:
    if (short := _on_one_line(value)) is not None:
        yield f"{key} {short}"
        return
    yield key
    yield from (f"{_INDENT}{line}" for line in _lines(value))


def _on_one_line(value: Any) -> str | None:
    """Return a value that has no lines of its own: a plain one, or a short list or object of plain ones."""
    if not isinstance(value, Mapping | list):
        return _plain(value)
    inside = value.values() if isinstance(value, Mapping) else value
    if any(isinstance(item, Mapping | list) for item in inside):
        return None
    if isinstance(value, Mapping):
        written = f"{{{', '.join(f'{_key(key)}: {_plain(value[key])}' for key in _sorted(value))}}}"
    else:
        written = f"[{', '.join(_plain(item) for item in value)}]"
    return written if len(written) <= _WIDTH else None


def _plain(value: Any) -> str:
    return texts.line(value) if isinstance(value, str) else json.dumps(value, default=str)


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) and key.lower() not in _NO_KEYS else texts.line(key)


def _sorted(value: Mapping[str, Any]) -> list[str]:
    return sorted(value, key=lambda key: (_FIRST.index(key) if key in _FIRST else len(_FIRST), key))
