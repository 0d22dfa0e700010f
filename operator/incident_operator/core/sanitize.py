"""What the outside world says, made fit to be stored and compared: clean texts, numbers that JSON can carry, bounded depth and patterns.

Decoders take 1,024 levels of JSON, encoders 254, and what walks through a value by recursion fewer or more, depending on where it
is called. So there is one bound, and the depth is read off the bytes, before anything is decoded, in a time that grows with their length.

An author's pattern is compiled in one way: it gets the least of a few budgets that it fits into, which holds its program and what a match
remembers; one that fits into none is refused. So what many patterns take together can be summed before anything is matched.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Any

import orjson
import re2

from incident_operator.core import texts
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


def stored_size(value: Any) -> int:
    """Return at most how many bytes a JSON value takes in etcd, where the apiserver writes `<`, `>`, `&` as six."""
    written = orjson.dumps(value)
    return len(written) + 5 * sum(written.count(sign) for sign in (b"<", b">", b"&"))


_BUDGETS = (8 * 1024, 16 * 1024, 32 * 1024, 64 * 1024)
"""Bytes. Most patterns fit into the first; `.{1,200}` needs the third, one `\\pL` too."""
RUNBOOK_BYTES = 512 * 1024
"""Of the patterns of one Runbook together: matchers and parameters as many as may be, of the usual size."""
NAMESPACE_BYTES = 4 * 1024 * 1024
"""Of the matchers of a namespace's Runbooks together: all of them are kept, for every alert is matched by them."""
_TOO_LARGE = "pattern too large"


class PatternError(ValueError):
    """A pattern does not compile; the message is one line for people, with RE2's own words."""


def compiled_pattern(pattern: str) -> Any:
    """Return the compiled RE2. Raises `PatternError`."""
    for budget in _BUDGETS:
        options = re2.Options()
        options.log_errors, options.max_mem = False, budget
        try:
            return re2.compile(pattern, options=options)
        except re2.error as error:
            reason = error.args[0] if error.args else "unknown"
            told = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
            if not told.startswith(_TOO_LARGE):
                raise PatternError(f"not a regular expression (RE2): {told}") from error
        except UnicodeEncodeError as error:
            raise PatternError("not a regular expression: holds a lone surrogate") from error
    raise PatternError(
        f"takes more than {_BUDGETS[-1] // 1024} KiB as a program; use fewer repetitions (+ or * instead of {{30}}, "
        "for example) or smaller character classes"
    )


def pattern_bytes(patterns: Iterable[Any]) -> int:
    """Return how many bytes compiled patterns take together, at most; None is one that is not there."""
    return sum(each.options.max_mem for each in patterns if each is not None)


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
        case Mapping() | list() | tuple() if depth >= WRAPPED:
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
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
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
        case float() if not math.isfinite(value):
            return str(value)
        case float():
            return canonical(int(value)) if value.is_integer() else value
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
