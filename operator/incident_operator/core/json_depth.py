"""How deep JSON may be nested: one bound for every decoder, so that nothing behind one fears for its stack. Pure.

Decoders take 1,024 levels, encoders 254, and what walks through a value by recursion fewer or more, depending on where it
is called. The depth is read off the bytes, before anything is decoded, in a time that grows with their length alone.
"""

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

import orjson

from incident_operator.core.outcomes import Json

MOST = 64
"""Levels of lists and objects in what is decoded."""
WRAPPED = MOST + 16
"""Levels of an action's result: what was decoded, in the rows and fields that the action puts around it."""
KEPT = MOST - 16
"""Levels of what becomes a part of an object of ours, which has to stay below `MOST` as a whole."""

_CONTAINERS = (dict, list, tuple, Mapping)
_OTHERS = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""Brackets as signed bytes: one level up, one level down."""


class TooDeepError(ValueError):
    """The JSON is nested deeper than is read; the message says `nested more than 64 levels deep`."""


def deeper_than(text: bytes, most: int = MOST) -> bool:
    """Tell whether JSON text is nested more than `most` levels deep; of what is not JSON, either may be said."""
    if text.count(b"[") + text.count(b"{") <= most:
        return False
    # escaped backslashes go first: only then does one before a quote escape it
    unescaped = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    # of a text without brackets only its two quotes are left; where two meet, both can go: what is inside a text stays inside
    brackets = unescaped.translate(_STEPS, _OTHERS).replace(b'""', b"")
    outside_texts = b"".join(brackets.split(b'"')[::2])
    return max(accumulate(memoryview(outside_texts).cast("b")), default=0) > most


def loads(text: bytes | str, most: int = MOST) -> Json:
    """Return decoded JSON. Raises `TooDeepError`, and another `ValueError` for what is not JSON."""
    raw = text.encode() if isinstance(text, str) else text
    if deeper_than(raw, most):
        raise TooDeepError(f"nested more than {most} levels deep")
    return orjson.loads(raw)


def is_deeper(value: Json, most: int = MOST) -> bool:
    """Tell whether a value is nested more than `most` levels deep."""
    level = _nested([value])
    for _ in range(most):
        if not level:
            return False
        level = _nested(item for each in level for item in (each.values() if isinstance(each, Mapping) else each))
    return bool(level)


def _nested(values: Iterable[Json]) -> list[Any]:
    return [each for each in values if isinstance(each, _CONTAINERS)]
