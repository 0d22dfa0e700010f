"""Walks over JSON text without decoding it whole: a message of megabytes is taken apart into its alerts, one at a time.

What is stepped over is not checked, only counted: that a value ends is all that has to be known of it.
"""

import json
import re
from collections.abc import Iterator

from incident_operator.core import texts
from incident_operator.receiver.json_text import ELEMENTS
from incident_operator.receiver.rejections import MalformedError

_KEYS = 1000
"""Fields of an object whose fields are looked at one by one."""
_BLANK = re.compile(rb"[ \t\n\r]*")
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_STRING = re.compile(_TEXT, re.DOTALL)
_BRACKET = re.compile(rb'(?:[^][{}"]++|' + _TEXT + rb")*+[][{}]", re.DOTALL)
"""Up to the next bracket that does not stand in a text."""
_SCALAR = re.compile(rb'[^\s",\[\]{}:]+')
_KINDS = {
    "{": "object",
    "[": "array",
    '"': "str",
    "n": "null",
    "t": "bool",
    "f": "bool",
    **dict.fromkeys("-0123456789", "number"),
}
_SHOWN = 40


class EndsEarlyError(MalformedError):
    """The text ends in the middle."""


class Cursor:
    """A place in JSON text. Its methods raise `MalformedError`, and nothing else, where the text is not JSON."""

    def __init__(self, text: bytes | bytearray | memoryview) -> None:
        self._text = text
        self._at = 0

    def kind(self) -> str:
        """Return what the value here is: `object`, `array`, `str`, `null`, `bool` or `number`."""
        sign = self._sign()
        if sign in _KINDS:
            return _KINDS[sign]
        raise self._error("Expecting value")

    def members(self) -> Iterator[str]:
        """Yield each key of the object here, while the cursor is at its value, which the caller takes or leaves.

        Raises `MalformedError` too for one that stands twice.
        """
        seen: set[str] = set()
        for _ in self._parts("}", "object"):
            key = self._key()
            if key in seen:
                raise MalformedError(texts.escaped(key, _SHOWN), "is set twice in one object")
            if len(seen) == _KEYS:
                raise MalformedError("body", f"holds more than {_KEYS} fields")
            seen.add(key)
            self._blank()
            start = self._at
            yield key
            self._leave(start)

    def elements(self) -> Iterator[int]:
        """Yield the number of each element of the list here, while the cursor is at it; the caller takes or leaves it."""
        for number, _ in enumerate(self._parts("]", "array")):
            start = self._at
            yield number
            self._leave(start)

    def value(self) -> bytes:
        """Take the value here, as it is written."""
        self._blank()
        start = self._at
        self._skip()
        return bytes(self._text[start : self._at])

    def part(self) -> "Cursor":
        """Take the value here as a cursor of its own; nothing is copied."""
        self._blank()
        start = self._at
        self._skip()
        return Cursor(memoryview(self._text)[start : self._at])

    def end(self) -> None:
        """Say that nothing more may come."""
        self._blank()
        if self._at < len(self._text):
            raise self._error("Extra data")

    def _parts(self, closing: str, kind: str) -> Iterator[None]:
        found = self.kind()
        if found != kind:
            raise MalformedError("body", f"expected `{kind}`, got `{found}`")
        self._at += 1
        if self._sign() == closing:
            self._at += 1
            return
        while True:
            self._blank()
            yield
            sign = self._sign()
            self._at += 1
            if sign == closing:
                return
            if sign != ",":
                raise self._error(f"expected , or {closing}", self._at - 1)

    def _key(self) -> str:
        found = _STRING.match(self._text, self._at)
        if found is None:
            if self._next() == '"':
                raise self._cut()
            raise self._error("expected a key in double quotes")
        self._at = found.end()
        if self._sign() != ":":
            raise self._error("expected : after a key")
        self._at += 1
        if b"\\" not in found.group():
            return found.group()[1:-1].decode(errors="replace")
        try:
            return str(json.loads(found.group().decode(errors="replace"), strict=False))
        except json.JSONDecodeError:
            raise self._error("a key is not JSON text", found.start()) from None

    def _leave(self, start: int) -> None:
        """Step over the value that began here, unless the caller took it."""
        if self._at == start:
            self._skip()

    def _skip(self) -> None:
        sign = self._next()
        if sign in "{[":
            self._at = self._nested_end()
            return
        found = (_STRING if sign == '"' else _SCALAR).match(self._text, self._at)
        if found is None:
            raise self._cut() if sign == '"' else self._error("Expecting value")
        self._at = found.end()

    def _nested_end(self) -> int:
        depth, opened, at = 0, 0, self._at
        while opened <= ELEMENTS:
            found = _BRACKET.match(self._text, at)
            if found is None:
                raise self._cut()
            at = found.end()
            opens = self._text[at - 1] in b"{["
            opened += opens
            depth += 1 if opens else -1
            if depth == 0:
                return at
        raise MalformedError("body", f"holds more than {ELEMENTS} lists and objects in one place")

    def _blank(self) -> None:
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _sign(self) -> str:
        """Return the next character that is not blank, and be at it."""
        self._blank()
        return self._next()

    def _next(self) -> str:
        if self._at >= len(self._text):
            raise self._cut()
        return chr(self._text[self._at])

    def _cut(self) -> MalformedError:
        return EndsEarlyError("body", f"is not JSON: it ends too early, after {len(self._text)} bytes")

    def _error(self, reason: str, at: int | None = None) -> MalformedError:
        return MalformedError("body", f"is not JSON: {reason} at byte {self._at if at is None else at}")
