"""Finds credentials in texts, however they are written there, and puts a mask in their place. Pure.

A value may be written percent-encoded, in JSON, HTML, SQL, a shell, base64 …: each character is given all the ways in which anybody writes
it, so that a value is found however these are mixed. What is looked for becomes one RE2 program, and all texts of a value become one text,
so that a search is one pass whose time grows with the text alone: neither with the number of credentials, nor with the number of texts.
"""

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from html.entities import html5
from threading import Lock
from typing import Any

import re2

from incident_operator.core.lru_cache import LRUCache

LONGEST = 64
"""Characters of a value that are looked for in one piece; a longer one is looked for in pieces of `_PIECE` and up."""
_PIECE = 32
_AT_AN_EDGE = 8
"""Characters of a value that have to be left where a text was cut, at least, to tell it by them: a value has as many."""
_TORN_AT_THE_END = "(?:\ufffd+|%[%0-9A-Fa-f]*|" + r"\\[\\0-9A-Fa-fux]*|&[#;0-9A-Za-z]*)?"
_TORN_AT_THE_BEGINNING = "(?:\ufffd+|#?u?[%0-9A-Fa-f]*|[a-z]*;)"
"""What is left of one more character where a cut goes through it, in UTF-8 or as it is escaped."""
_LONGEST_PATTERN = 1_500_000
"""Characters of all patterns of a program: more than 1,000 passwords, or 20 tokens of 2 KiB, need. It takes 100 bytes each."""
_LETTER_WEIGHT, _OTHER_WEIGHT = 8, 90
_BYTES_FOR_A_CHARACTER = 512
_LEAST_BYTES = 16 * 1024 * 1024
"""What RE2 may take for a program. It refuses to be fast where it might get short of it, and takes far less."""

Program = Any
"""A compiled RE2; the patterns are over UTF-8."""


def weight(values: Iterable[str]) -> int:
    """Return about how many characters of patterns it takes to look for the values: what their programs take in memory grows so."""
    return sum(_LETTER_WEIGHT if character.isalnum() else _OTHER_WEIGHT for value in values for character in value)


def whole(values: Iterable[str]) -> Program | None:
    """Return what finds each of the values as a whole, the longest at each place; None where they are too much for that."""

    def ways() -> Iterator[str]:
        for value in values:
            for begin, end in _bounds(value):
                raw = value[begin:end].encode("utf-8", "surrogatepass")
                yield "".join(map(_character, value[begin:end]))
                yield f"(?i:{raw.hex()})"
                # what base64 of anything with it must hold: one pattern for each of the three alignments
                for offset in range(3):
                    encoded = base64.b64encode(b"\0" * offset + raw).decode()
                    core = encoded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
                    yield "".join(_IN_BASE64.get(character, character) for character in core)

    return _program(ways())


def edges(values: Iterable[str], is_telling: Callable[[str], bool]) -> Program | None:
    """Return what finds the beginning of a value before a cut, and its end after one, with the sign of the cut; or None.

    `is_telling` says of a part of a value whether it can be told from ordinary text.
    """
    return _program(way for value in values for way in _cut_ways(value, is_telling))


def _program(patterns: Iterable[str]) -> Program | None:
    found, length = set(), 0
    for pattern in patterns:
        found.add(pattern)
        length += len(pattern)
        if length > _LONGEST_PATTERN:
            return None
    options = re2.Options()
    options.log_errors, options.longest_match, options.never_capture = False, True, True
    options.max_mem = max(_LEAST_BYTES, length * _BYTES_FOR_A_CHARACTER)
    # sorted, what begins alike is one branch
    return re2.compile("|".join(sorted(found)), options=options)


def _bounds(value: str) -> list[tuple[int, int]]:
    """Return where the pieces of a value begin and end."""
    if len(value) <= LONGEST:
        return [(0, len(value))]
    begins = range(0, len(value) - _PIECE + 1, _PIECE)
    return list(zip(begins, [*begins[1:], len(value)], strict=True))


def _cut_ways(value: str, is_telling: Callable[[str], bool]) -> Iterator[str]:
    """Yield what a cut leaves: the first characters of a piece or the last ones of it, and as many of the others as there are.

    The pieces overlap: of a cut that leaves less of a piece than can be told by itself, the piece beside it tells. What leaves
    all of the value is not a cut. One piece after the other, since a value may be longer than all that can be looked for.
    """
    for begin, end in _bounds(value):
        head = value[max(begin - _AT_AN_EDGE, 0) : end if end < len(value) else -1]
        if least := next((n for n in range(_AT_AN_EDGE, len(head) + 1) if is_telling(head[:n])), 0):
            ways = list(map(_character, head))
            # then none of the others, or the first, or the first two, …
            then = reduce(lambda rest, way: f"(?:{way}{rest})?", reversed(ways[least:]), "")
            yield "".join(ways[:least]) + then + _TORN_AT_THE_END + "[\r\n…]"
        tail = value[begin or 1 : end + _AT_AN_EDGE]
        if least := next((n for n in range(_AT_AN_EDGE, len(tail) + 1) if is_telling(tail[-n:])), 0):
            ways = list(map(_character, tail))
            before = reduce(lambda rest, way: f"(?:{rest}{way})?", ways[:-least], "")
            yield "\n" + _TORN_AT_THE_BEGINNING + before + "".join(ways[-least:])


@lru_cache(4096)
def _character(character: str) -> str:
    """Return a pattern of all the ways in which a character is written."""
    if character.isascii() and character.isalnum():
        return character  # nobody has a reason to write it otherwise
    raw, code = character.encode("utf-8", "surrogatepass"), ord(character)
    units = character.encode("utf-16-be", "surrogatepass").hex(" ", 2).split()
    escaped = "|".join(
        (
            r"\\+".join(f"u{unit}" for unit in units),
            r"\\+".join(f"x{byte:02x}" for byte in raw),
            *([f"u{code:08x}"] if len(units) > 1 else []),
            *([f"x{code:02x}"] if code < _AFTER_LATIN_1 else []),  # as Python and YAML write it
            *([_LETTERS[character]] if character in _LETTERS else []),
        )
    )
    percent = "".join(f"%(?:25)*{byte:02x}" for byte in raw)
    entities = "|".join((f"#0*{code}", f"#x0*{code:x}", *_NAMES.get(character, ())))
    entity = rf"(?:&|\\+u0026)(?:amp;)*(?:{entities});"
    coded = f"(?:{_ESCAPE}*(?:{percent}|{entity})){'+' if character in _DOUBLED else ''}"
    plain = _PLAIN.get(character) or rf"\\*{re.escape(character)}"
    return f"(?:{plain}|(?i:{_ESCAPE}+(?:{escaped})|{coded}))"


_ESCAPE = r"(?:\\|%(?:25)*5c)"
_DOUBLED = "'\""
_LETTERS = dict(zip("\a\b\t\n\v\f\r", "abtnvfr", strict=True))
"""With which a character is escaped."""
_PLAIN = {
    "'": r"""\\*'(?:[\\'"]*')?""",  # twice in SQL; '\'' and '"'"' in a shell
    '"': r"""\\*"(?:[\\'"]*")?""",  # twice in CSV and in names of SQL
    "\\": r"\\+",
    "%": "%%?",  # twice in formats
    " ": r"\\*[ +]|\\?\r?\n *(?:\\ )?",  # YAML goes on in the next line
    "\n": r"\r?\n[ \t]*|\\+r\\+n",
}
_AFTER_LATIN_1 = 0x100
_NAMES: dict[str, list[str]] = {}
"""Of characters in HTML."""
for _name, _named in html5.items():
    if _name.endswith(";"):
        _NAMES.setdefault(_named, []).append(_name[:-1])


_IN_BASE64 = {"+": r"(?:[+-]|(?i:%2b|\\+u002b))", "/": r"(?:\\*/|_|(?i:%2f))"}


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


class Masks:
    """Masks a fixed set of credentials. Make it by `of`, which knows the programs that were made before."""

    def __init__(self, credentials: Iterable[Credential]) -> None:
        self._of: dict[str, list[str]] = {}
        for each in credentials:
            # a value of several lines as it is, and each of its lines on its own, for lists of lines
            lines = each.value.strip().splitlines()
            found = [each.value.strip()] if is_looked_for(each.value) else []
            if len(lines) > 1:
                inner = (line for line in lines if is_looked_for(line) and not line.startswith(_PEM_BOUNDARY))
                found += [line.strip() for line in inner]
            if found:
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
        return whole(self._values)

    @cached_property
    def _edges(self) -> Program | None:
        return edges(self._values, is_looked_for)

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
            _made.put(credentials, found, weight(each.value for each in credentials))
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
