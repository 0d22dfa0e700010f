"""How a value may be written in a text: percent-encoded, in JSON, HTML, SQL, a shell, base64 …, as RE2 programs that find it. Pure.

Each character is given all the ways in which anybody writes it, so that a value is found however these are mixed.
"""

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, reduce
from html.entities import html5
from typing import Any

import re2

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
    return _program(way for value in values for begin, end in _bounds(value) for way in _ways(value[begin:end]))


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


def _ways(piece: str) -> Iterator[str]:
    raw = piece.encode("utf-8", "surrogatepass")
    yield "".join(map(_character, piece))
    yield f"(?i:{raw.hex()})"
    yield from _base64(raw)


def _cut_ways(value: str, is_telling: Callable[[str], bool]) -> Iterator[str]:
    """Yield what a cut leaves: the first characters of a piece or the last ones of it, and as many of the others as there are.

    The pieces overlap: of a cut that leaves less of a piece than can be told by itself, the piece beside it tells. What leaves
    all of the value is not a cut. One piece after the other, since a value may be longer than all that can be looked for.
    """
    for begin, end in _bounds(value):
        head = value[max(begin - _AT_AN_EDGE, 0) : end if end < len(value) else -1]
        if least := next((n for n in range(_AT_AN_EDGE, len(head) + 1) if is_telling(head[:n])), 0):
            ways = list(map(_character, head))
            yield "".join(ways[:least]) + _then(ways[least:]) + _TORN_AT_THE_END + "[\r\n…]"
        tail = value[begin or 1 : end + _AT_AN_EDGE]
        if least := next((n for n in range(_AT_AN_EDGE, len(tail) + 1) if is_telling(tail[-n:])), 0):
            ways = list(map(_character, tail))
            yield "\n" + _TORN_AT_THE_BEGINNING + _before(ways[:-least]) + "".join(ways[-least:])


def _then(ways: Sequence[str]) -> str:
    """Return a pattern of none, the first, the first two, … of them."""
    return reduce(lambda rest, way: f"(?:{way}{rest})?", reversed(ways), "")


def _before(ways: Sequence[str]) -> str:
    """Return a pattern of none, the last, the last two, … of them."""
    return reduce(lambda rest, way: f"(?:{rest}{way})?", ways, "")


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
    entity = rf"(?:&|\\+u0026)(?:amp;)*(?:{'|'.join(_entities(code))});"
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


def _entities(code: int) -> Iterator[str]:
    yield f"#0*{code}"
    yield f"#x0*{code:x}"
    yield from _NAMES.get(chr(code), ())


def _base64(raw: bytes) -> Iterator[str]:
    """Yield what base64 of anything with `raw` in it must hold: one pattern for each of the three alignments."""
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw).decode()
        core = encoded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
        yield "".join(_IN_BASE64.get(character, character) for character in core)


_IN_BASE64 = {"+": r"(?:[+-]|(?i:%2b|\\+u002b))", "/": r"(?:\\*/|_|(?i:%2f))"}
