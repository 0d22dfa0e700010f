"""Finds credentials in texts, however they are written there, and puts a mask in their place. Pure.

What is looked for becomes one RE2 program, and all texts of a value become one text, so that a search is one pass whose time
grows with the text alone: neither with the number of credentials, nor with the number of texts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

from incident_operator.core import writings
from incident_operator.core.lru_cache import LRUCache
from incident_operator.core.writings import Program

MASK = "***"
SHORTEST = 8
"""A shorter value is in ordinary text by chance, so it is not looked for."""
LONGEST_WORD = 20
"""Letters alone, up to so many, in the case of a word, are taken for a word."""
_LEAST_DIFFERENT = 3
"""Characters that differ, at least: `00000000` is part of many a number."""
_PEM_BOUNDARY = "-----"
"""How the lines around a PEM block begin, which any other block has as well."""
_KEPT, _HEAVIEST = 64, 900_000
"""Masks kept, of which Incidents of one Runbook use the same, and what they weigh together: 130 MB; others are made again."""
_EDGES_FROM = 500
"""Bytes in all from which a text may have been cut without a mark; what cuts shorter texts marks them."""
_CUT = "…"
_SEPARATORS = b"\r\n"
_GAP = 4
"""Bytes between two masks that become one: pieces of a long value leave as much between them in base64."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret value, and whose it is."""

    value: str
    connection: str
    """Name of the Connection; of the operator's own, where they are from."""

    def __repr__(self) -> str:
        return f"Credential(of {self.connection})"


def is_looked_for(value: str) -> bool:
    """Tell whether a value is long and odd enough to be told from ordinary text."""
    plain = value.strip()
    if len(plain) < SHORTEST or len(set(plain)) < _LEAST_DIFFERENT:
        return False
    is_word = plain.isalpha() and plain in {plain.lower(), plain.upper(), plain.capitalize()}
    return not is_word or len(plain) > LONGEST_WORD


def _looked_for(value: str) -> Iterator[str]:
    """Yield a value of several lines as it is, and each of its lines on its own, for lists of lines."""
    lines = value.strip().splitlines()
    yield from (value.strip(),) if is_looked_for(value) else ()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if is_looked_for(line) and not line.startswith(_PEM_BOUNDARY))


class Masks:
    """Masks a fixed set of credentials. Make it by `of`, which knows the programs that were made before."""

    def __init__(self, credentials: Iterable[Credential]) -> None:
        self._of: dict[str, list[str]] = {}
        for each in credentials:
            if found := list(_looked_for(each.value)):
                self._of.setdefault(each.connection, []).extend(found)

    def __bool__(self) -> bool:
        return bool(self._of)

    def text(self, text: str) -> str:
        """Return the text with every credential masked."""
        spans = self._found([text])
        return _replaced([text], spans)[0] if spans else text

    def json(self, value: Any) -> Any:
        """Return decoded JSON with every credential masked in its texts; names (keys) stay, and so does what is not text."""
        held = _texts(value) if self else []
        spans = self._found(held)
        return _with(value, iter(_replaced(held, spans))) if spans else value

    def whose(self, value: Any) -> str:
        """Return the name of the Connection of which a text or decoded JSON, names included, holds a credential; else empty."""
        held = _texts(value, names=True) if self else []
        if not self.is_in(held):
            return ""
        return next((name for name, values in self._of.items() if of_values(name, values).is_in(held)), "?")

    def is_in(self, texts: Sequence[str]) -> bool:
        """Tell whether a credential is in any of the texts."""
        return bool(self._found(texts))

    def _found(self, texts: Sequence[str]) -> list[Span]:
        """Return where credentials are in the texts, as bytes of all of them joined; everywhere, where there are too many to look."""
        if not self._of or not texts:
            return []
        joined = "\n".join(("", *texts, ""))
        data = joined.encode("utf-8", "surrogatepass")
        may_be_cut = len(data) >= _EDGES_FROM or _CUT in joined
        programs = (self._whole, self._edges) if may_be_cut else (self._whole,)
        if None in programs:
            return [(1, len(data) - 1)]
        spans = sorted(span for program in programs for span in _spans(program, data))
        return _merged(spans, data)

    @cached_property
    def _whole(self) -> Program | None:
        return writings.whole(self._values)

    @cached_property
    def _edges(self) -> Program | None:
        return writings.edges(self._values, is_looked_for)

    @property
    def _values(self) -> frozenset[str]:
        return frozenset(value for values in self._of.values() for value in values)


class _Everything(Masks):
    """Masks of more credentials than are kept: nothing is shown."""

    def __init__(self) -> None:
        super().__init__([Credential("more-than-is-kept", "?")])
        self._whole = self._edges = None


_made: LRUCache[frozenset[Credential], Masks] = LRUCache(_KEPT, _HEAVIEST)
_making = Lock()


def of(credentials: frozenset[Credential]) -> Masks:
    """Return what masks these credentials. Ask anew each time: what is not kept any more leaves its memory so."""
    if not credentials:
        return NOTHING
    with _making:
        found = _made.get(credentials)
        if found is None:
            found = Masks(credentials)
            _made.put(credentials, found, writings.weight(each.value for each in credentials))
    return found


def of_values(connection: str, values: Iterable[str]) -> Masks:
    """Return what masks the credentials of one Connection."""
    return of(frozenset(Credential(value, connection) for value in values))


NOTHING = Masks(())
EVERYTHING = _Everything()


def _spans(program: Program, data: bytes) -> Iterator[Span]:
    at = 0
    while (found := program.search(data, at)) is not None:
        begin, at = _trimmed(data, *found.span())
        yield begin, at


def _trimmed(data: bytes, begin: int, end: int) -> Span:
    """Leave out what only tells that a text begins or ends there; it may be the edge of the next one as well."""
    while data[begin] in _SEPARATORS:
        begin += 1
    while data[end - 1] in _SEPARATORS:
        end -= 1
    mark = _CUT.encode()
    return begin, end - len(mark) if data.endswith(mark, begin, end) else end


def _merged(spans: Sequence[Span], data: bytes) -> list[Span]:
    merged: list[Span] = []
    for begin, end in spans:
        between = data[merged[-1][1] : begin] if merged else b""
        if merged and begin - merged[-1][1] <= _GAP and (not between or between.isalnum()):
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _replaced(texts: Sequence[str], spans: Sequence[Span]) -> list[str]:
    """Return the texts with the spans, which may reach over several of them, masked."""
    replaced: list[str] = []
    offset, first = 1, 0
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        end = offset + len(raw)
        while first < len(spans) and spans[first][1] <= offset:
            first += 1
        replaced.append(_masked(raw, offset, spans, first) if first < len(spans) and spans[first][0] < end else text)
        offset = end + 1
    return replaced


def _masked(raw: bytes, offset: int, spans: Sequence[Span], first: int) -> str:
    parts: list[bytes] = []
    done, number = 0, first
    while number < len(spans) and spans[number][0] < offset + len(raw):
        begin, end = spans[number]
        parts += [raw[done : max(begin - offset, 0)], MASK.encode()]
        done, number = end - offset, number + 1
    return b"".join([*parts, raw[done:]]).decode("utf-8", "surrogatepass")


def _texts(value: Any, *, names: bool = False) -> list[str]:
    found: list[str] = []
    _collect(value, found, names)
    return found


def _collect(value: Any, found: list[str], names: bool) -> None:
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, dict | Mapping):  # dict first: the abstract class is slow to tell
        for key, item in value.items():
            if names:
                found.append(str(key))
            _collect(item, found, names)
    elif isinstance(value, list | tuple):
        for item in value:
            _collect(item, found, names)


def _with(value: Any, texts: Iterator[str]) -> Any:
    """Return the value with its texts replaced, in the order in which `_texts` yields them."""
    match value:
        case str():
            return next(texts)
        case Mapping():
            return {key: _with(item, texts) for key, item in value.items()}
        case list() | tuple():
            return [_with(item, texts) for item in value]
        case _:
            return value
