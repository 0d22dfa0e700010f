"""Reads JSON from strangers: refuses what Python's parser would let through or stumble over.

Python takes NaN, lets the last of two equal keys win, and fails in its own ways on deep nesting and on numbers of
thousands of digits. A few megabytes of `[],[],` would be millions of objects, so what a text holds, and how deep, is
counted first.

A `Cursor` walks over the text without decoding it whole: a message of megabytes is taken apart into its alerts, one at a time. What is
stepped over is not checked, only counted: that a value ends is all that has to be known of it. One alert is `decoded` and `checked`,
whoever tells it. Null is the same as nothing. An alert that cannot be understood is refused alone, for the others that came with it are
not its sender's to lose; texts are never a reason: what an Incident keeps of them is cut and cleaned.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec

from incident_operator.api.incident import AlertStatus
from incident_operator.core import texts
from incident_operator.core.alerts import received_alerts
from incident_operator.core.alerts.received_alerts import DASHBOARD_URL, LIMITS, LabelLimits, ReceivedAlert
from incident_operator.core.outcomes import Json
from incident_operator.core.sanitize import MOST, deeper_than
from incident_operator.receiver.refusals import MalformedError, Rejection

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
    # texts may hold as many commas as they like; they are looked for only where there are many
    if _elements(body) > ELEMENTS and _elements(_STRING.sub(b"", body)) > ELEMENTS:
        raise MalformedError("body", f"holds more than {ELEMENTS} lists, objects and commas")
    if deeper_than(body):
        raise MalformedError("body", f"is nested more than {MOST} levels deep")
    try:
        decoded = _DECODER.decode(body.decode("utf-8", "replace"))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise MalformedError("body", f"is not JSON: {error.msg} at {place}") from error
    return _without_halves(decoded) if _HALF.search(body) else decoded


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
        counts = Counter(key for key, _ in pairs)
        repeated = next(key for key, count in counts.items() if count > 1)
        raise MalformedError(texts.escaped(repeated, _SHOWN), "is set twice in one object")
    return found


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


_Zoned = Annotated[datetime, msgspec.Meta(tz=True)]
_Raw = TypeVar("_Raw", bound=msgspec.Struct)
_Texts = dict[str, str | None]
_FIRST = datetime(1970, 1, 2, tzinfo=UTC)
_LAST = datetime(9999, 12, 30, tzinfo=UTC)
ALERT_BYTES = 4 * 1024 * 1024
"""Of one alert, as it is written."""
_REASON = 200


class Timestamp:
    """A time that was told, to the millisecond; `decoded` makes it of a text. No dataclass, which would be an object."""

    __slots__ = ("at",)

    def __init__(self, at: datetime) -> None:
        self.at = at

    @property
    def sensible(self) -> bool:
        """Whether it is one that can be stored; Go's zero time, say, is not."""
        return _FIRST <= self.at <= _LAST


class RawAlert(msgspec.Struct, rename="camel", kw_only=True):
    """What every source tells of an alert. Field names are Alertmanager's, but for `dashboardURL`, which is Grafana's."""

    labels: _Texts
    starts_at: Timestamp
    ends_at: Timestamp | None = None
    annotations: _Texts | None = None
    generator_url: str | None = msgspec.field(default=None, name="generatorURL")
    dashboard_url: Any = msgspec.field(default=None, name="dashboardURL")

    @property
    def end(self) -> datetime | None:
        """When it ended, or will if nobody tells of it any more; None where no sensible time is told."""
        return self.ends_at.at.astimezone(UTC) if self.ends_at and self.ends_at.sensible else None


def decoded(written: bytes, wanted: type[_Raw], place: str) -> _Raw | Rejection:
    """Return an alert as a source writes it, or why it cannot be understood; `place` is where the message tells of it."""
    if len(written) > ALERT_BYTES:
        return Rejection(place, f"has {len(written)} bytes; at most {ALERT_BYTES} are read of one alert")
    try:
        found = read(written)
        if isinstance(found, dict):
            found = {name: value for name, value in found.items() if value is not None}
        return msgspec.convert(found, wanted, dec_hook=_timestamp)
    except msgspec.ValidationError as error:
        reason, _, inside = str(error).partition(" - at ")
        reason = texts.cut(reason[:1].lower() + reason[1:].replace(" | null", ""), _REASON)
        return Rejection(place + texts.cut(inside.strip("`").removeprefix("$"), _REASON), reason)
    except MalformedError as error:
        return Rejection(place, error.reason if error.field == "body" else str(error))


def checked(
    alert: RawAlert, status: AlertStatus, place: str, limits: LabelLimits = LIMITS
) -> ReceivedAlert | Rejection:
    """Return the alert as it may be stored, or why it may not; `place` is where the message tells of it."""
    labels = _present(alert.labels)
    if not alert.starts_at.sensible:
        return Rejection(f"{place}.startsAt", "is not between 1970 and 9999")
    if not labels:
        return Rejection(f"{place}.labels", "is empty; labels identify an alert")
    annotations = _present(alert.annotations or {})
    if isinstance(alert.dashboard_url, str) and alert.dashboard_url and not annotations.get(DASHBOARD_URL):
        annotations[DASHBOARD_URL] = alert.dashboard_url  # only Grafana's own field names it
    return received_alerts.of(
        labels,
        alert.starts_at.at.astimezone(UTC),
        alert.end if status is AlertStatus.RESOLVED else None,
        status=status,
        annotations=annotations,
        generator_url=alert.generator_url or "",
        limits=limits,
    )


def _present(told: Mapping[str, str | None]) -> dict[str, str]:
    return {name: text for name, text in told.items() if text is not None}


def _timestamp(_: type, value: Any) -> Timestamp:
    text = value if isinstance(value, str) else ""
    try:
        return Timestamp(msgspec.convert(received_alerts.to_milliseconds(text) or value, _Zoned))
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error  # msgspec tells the place of this one only


_KEYS = 1000
"""Fields of an object whose fields are looked at one by one."""
_BLANK = re.compile(rb"[ \t\n\r]*")
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_WHOLE_STRING = re.compile(_TEXT, re.DOTALL)
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
        found = _WHOLE_STRING.match(self._text, self._at)
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
            self._skip_nested()
            return
        found = (_WHOLE_STRING if sign == '"' else _SCALAR).match(self._text, self._at)
        if found is None:
            raise self._cut() if sign == '"' else self._error("Expecting value")
        self._at = found.end()

    def _skip_nested(self) -> None:
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
                self._at = at
                return
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
