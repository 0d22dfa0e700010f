"""Hostile messages, and the answers that are right for each. Pure; nothing is larger than it has to be until it is asked for."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from proofs.storm.alerts import Alert, message
from proofs.storm.storm_namespace import STORM

_STARTED = datetime(2026, 1, 1, tzinfo=UTC)
_FOUR_MIB = 4 * 1024**2
MALFORMED = frozenset({400})
REFUSED = frozenset({400, 415})
TAKEN = frozenset({200})
"""What can be understood of it is stored."""
Make = Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Hostile:
    """One message."""

    name: str
    make: Make
    answers: frozenset[int]
    headers: tuple[str, ...] = ()


def valid(**changes: Any) -> dict[str, Any]:
    """A right message about an alert that no Runbook asks for, with fields replaced."""
    alert = Alert({"alertname": "Abuse", "instance": "x"}, _STARTED)
    return {**message([alert], {"instance": "x"}), **changes}


def _alert(**changes: Any) -> bytes:
    made = valid()
    made["alerts"][0] |= changes
    return json.dumps(made).encode()


def _labels(**labels: Any) -> bytes:
    return _alert(labels={"alertname": "Abuse", **labels})


def _repeated(opening: bytes, closing: bytes = b"") -> Make:
    count = (_FOUR_MIB - 64) // (len(opening) + len(closing))
    return lambda: opening * count + closing * count


def _listed(element: bytes, before: bytes = b"[", after: bytes = b"]") -> Make:
    def make() -> bytes:
        count = (_FOUR_MIB - len(before) - len(after) - 1) // (len(element) + 1)
        return before + b",".join([element] * count) + after

    return make


def _many_alerts() -> bytes:
    one = json.dumps(valid()["alerts"][0]).encode()
    return b'{"version":"4","alerts":[' + b",".join([one] * ((_FOUR_MIB - 100) // (len(one) + 1))) + b"]}"


HOSTILE = (
    Hostile("deep lists", _repeated(b"[", b"]"), MALFORMED),
    Hostile("deep lists, open", _repeated(b"["), MALFORMED),
    Hostile("deep objects", _repeated(b'{"a":'), MALFORMED),
    Hostile("a deep label", lambda: _labels(x=json.loads("[" * 500 + "]" * 500)), MALFORMED),
    Hostile("4 MiB of []", _listed(b"[]"), MALFORMED),
    Hostile("4 MiB of {}", _listed(b"{}"), MALFORMED),
    Hostile("4 MiB of [] as alerts", _listed(b"[]", b'{"version":"4","alerts":[', b"]}"), MALFORMED),
    Hostile("4 MiB of {} as alerts", _listed(b"{}", b'{"version":"4","alerts":[', b"]}"), MALFORMED),
    Hostile("4 MiB of [] in an unread field", _listed(b"[]", b'{"version":"4","alerts":[],"x":[', b"]}"), REFUSED | {200}),
    Hostile("4 MiB of numbers", _listed(b"1"), MALFORMED),
    Hostile("4 MiB of digits", lambda: b'{"version":"4","truncatedAlerts":' + b"9" * (_FOUR_MIB - 64) + b"}", MALFORMED),
    Hostile("4 MiB of exponent", lambda: b'{"truncatedAlerts":1e' + b"9" * (_FOUR_MIB - 64) + b"}", MALFORMED),
    Hostile("4 MiB of keys", lambda: json.dumps({f"k{n}": 0 for n in range(300_000)}).encode()[:_FOUR_MIB], MALFORMED),
    Hostile("4 MiB of the same alert", _many_alerts, frozenset({200})),
    Hostile("4 MiB of one label", lambda: _labels(x="x" * (_FOUR_MIB - 2000)), TAKEN),
    Hostile("4 MiB of escapes", lambda: b'{"version":"' + b"\\u0041" * 690_000 + b'"}', MALFORMED),
    Hostile("4 MiB of white space", lambda: b" " * _FOUR_MIB, MALFORMED),
    Hostile("4 MiB of NUL", lambda: b"\x00" * _FOUR_MIB, MALFORMED),
    Hostile("NaN", lambda: b'{"version":"4","alerts":[],"truncatedAlerts":NaN}', TAKEN),
    Hostile("Infinity", lambda: b'{"version":"4","alerts":[],"truncatedAlerts":-Infinity}', TAKEN),
    Hostile("a huge float", lambda: b'{"version":"4","alerts":[],"truncatedAlerts":1e999}', TAKEN),
    Hostile("a lone surrogate", lambda: _labels(x="\ud800"), TAKEN),
    Hostile("a lone surrogate as a name", lambda: _labels(**{"\udfff": "x"}), TAKEN),
    Hostile("NUL in a label", lambda: _labels(x="a\x00b"), TAKEN),
    Hostile("a key twice", lambda: b'{"version":"4","version":"4","alerts":[]}', MALFORMED),
    Hostile("not UTF-8", lambda: b'{"version":"4","alerts":["\xff"]}', MALFORMED),
    Hostile("UTF-16", lambda: json.dumps(valid()).encode("utf-16"), MALFORMED),
    Hostile("a byte order mark", lambda: b"\xef\xbb\xbf" + json.dumps(valid()).encode(), MALFORMED | {200}),
    Hostile("nothing", lambda: b"", MALFORMED),
    Hostile("null", lambda: b"null", MALFORMED),
    Hostile("version 3", lambda: json.dumps(valid(version="3")).encode(), TAKEN),
    Hostile("alerts that are no list", lambda: json.dumps(valid(alerts={"0": {}})).encode(), MALFORMED),
    Hostile("labels that are numbers", lambda: _labels(x=1), MALFORMED),
    Hostile("65 labels", lambda: _labels(**{f"l{n}": "x" for n in range(64)}), TAKEN),
    Hostile("a time without a zone", lambda: _alert(startsAt="2026-01-01T00:00:00"), MALFORMED),
    Hostile("a time before time", lambda: _alert(startsAt="0001-01-01T00:00:00Z"), MALFORMED),
    Hostile("negative truncatedAlerts", lambda: json.dumps(valid(truncatedAlerts=-1)).encode(), TAKEN),
    Hostile("gzip, said so", lambda: gzip.compress(json.dumps(valid()).encode()), REFUSED, ("Content-Encoding: gzip",)),
    Hostile("a gzip bomb", lambda: gzip.compress(b" " * 64 * 1024**2, 9), REFUSED, ("Content-Encoding: gzip",)),
    Hostile("a deflate bomb", lambda: zlib.compress(b"[" * 64 * 1024**2, 9), REFUSED, ("Content-Encoding: deflate",)),
    Hostile("an encoding unknown", lambda: json.dumps(valid()).encode(), REFUSED | {200}, ("Content-Encoding: nonsense",)),
)  # fmt: skip


def raw_requests() -> Iterator[tuple[str, bytes]]:
    """What is no HTTP, or hardly; each has to be answered 4xx, or hung up on."""
    target = b"POST /api/v1/alerts HTTP/1.1\r\nHost: x\r\n"
    yield "no HTTP", b"NONSENSE\r\n\r\n"
    yield "binary", bytes(range(256)) * 16
    yield "a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
    yield "HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "HTTP/9", b"POST /api/v1/alerts HTTP/9.9\r\n\r\n"
    yield "a negative length", target + b"Content-Length: -1\r\n\r\n"
    yield "two lengths", target + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"
    yield "length and chunks", target + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    yield "a length in words", target + b"Content-Length: ten\r\n\r\n"
    yield "chunks that are none", target + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    yield "a chunk of 2^64", target + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n"
    yield "a head of 1 MiB", target + b"X: " + b"a" * 1024**2 + b"\r\n\r\n"
    yield "10,000 headers", target + b"".join(b"X%d: y\r\n" % n for n in range(10_000)) + b"\r\n"
    yield "a folded header", target + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n"
    yield "NUL in a header", target + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n"
    yield "a path of 64 KiB", b"POST /" + b"a" * 65_536 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    yield "line feeds alone", b"POST /api/v1/alerts HTTP/1.1\nHost: x\n\n"


def pile(number: int) -> bytes:
    """A right message of that many alerts, for whoever needs bytes in number."""
    made = [Alert({"alertname": STORM, "instance": f"pile-{n}"}, _STARTED) for n in range(number)]
    return json.dumps(message(made, {})).encode()
