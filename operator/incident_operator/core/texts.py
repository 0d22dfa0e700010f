"""What text may be stored and shown: one rule for every value that enters a plan, a message or a report. Secrets are not looked for here.

A value is one line of characters that can be seen. Where it has to be exact (a plan, an output), anything else is written as a
JSON string with escapes (`exact`, `line`); where people read it (a message, a summary, the report), it is cleaned (`visible`); where
it names something (a parameter), it is refused (`unseen`). In our Markdown it cannot start a link, HTML or code.
"""

import hashlib
import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import re2

_Item = TypeVar("_Item")


def fitting(items: Iterable[_Item], size: Callable[[_Item], int], budget: int) -> tuple[list[_Item], int]:
    """Return the first items that fit the budget together, and what is left of it: 0 where one did not fit any more."""
    kept: list[_Item] = []
    for item in items:
        budget -= size(item)
        if budget < 0:
            return kept, 0
        kept.append(item)
    return kept, budget


_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters but for tab and line ends, and halves of surrogate pairs: terminals obey the former, and UTF-8,
hence etcd and PostgreSQL, cannot hold the latter."""
_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")
_LOOKS_EMPTY = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)
"""Letters and marks that nobody sees, though Unicode counts them among what can be printed: fillers, variation selectors."""
_MARKS = frozenset({"Mn", "Me"})
_MOST_MARKS = 4
"""Marks upon one letter that any script needs; more of them pile up over the lines above and below."""
_PILE = re2.compile(rf"[\p{{Mn}}\p{{Me}}]{{{_MOST_MARKS + 1}}}")
_LIKE_A_FIELD = re.compile(r":(\s|$)")
NULL = "null"
"""How a plan writes null; a text that is the same is in quotes."""
_QUOTE = '"'
_CUT = "…"
_MARKUP = ("<!doctype", "<html", "<?xml")
_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_LOOKED_AT = 4096
"""Characters in which a first line is looked for."""


def not_text(text: str) -> str | None:
    """Return the first character that is not for people to read, written `U+0000`; None where all are fine."""
    return _first(_NOT_TEXT, text)


def cleaned(text: str) -> str:
    """Return the text with `U+FFFD` in place of every character that is not for people to read."""
    return _NOT_TEXT.sub("\ufffd", text)


def storable(text: str) -> str:
    """Return the text with `U+FFFD` in place of every character that no database takes."""
    return _NOT_STORABLE.sub("\ufffd", text)


def unseen(text: str) -> str | None:
    """Return the first character that cannot be seen or that moves others, written `U+202E`; None where there is none.

    Among them are line ends, tabs and all blanks but the plain one, controls, bidi and zero-width characters, and piles of marks.
    """
    if text.isprintable() and _LOOKS_EMPTY.search(text) is None and (text.isascii() or _PILE.search(text) is None):
        return None  # at once, since texts are long
    return next((f"U+{ord(text[at]):04X}" for at in _unseen(text)), None)


def visible(text: str) -> str:
    """Return the text on one line for people to read: single blanks, `U+FFFD` for what cannot be seen."""
    if unseen(text) is None and "  " not in text and text[:1] != " " and text[-1:] != " ":
        return text
    told = " ".join(cleaned(text).split())
    if unseen(told) is None:
        return told
    return _with(told, lambda _: "\ufffd")


def visible_page(text: str) -> str:
    """Return a text of many lines with `U+FFFD` for what cannot be seen; its line ends and blanks stay."""
    return _with(text, lambda each: each if each == "\n" else "\ufffd")


def line(text: str) -> str:
    """Return the text as a JSON string on one line that says exactly what it is: escapes for all that cannot be seen."""
    return with_escapes(json.dumps(text, ensure_ascii=False))


def exact(text: str) -> str:
    """Return the text as it is where that cannot be misread; else as `line` does. No two texts give the same.

    Misread is what has blanks at its ends or several in a row, and what looks like a field of its own in `kubectl describe`.
    """
    misread = text == NULL or "  " in text or text != text.strip() or _LIKE_A_FIELD.search(text) is not None
    return line(text) if misread else unmistakable(text)


def unmistakable(text: str) -> str:
    """Return the text as it is where all of it can be seen; else as `line` does. `plain` reads either."""
    return line(text) if text[:1] == _QUOTE or unseen(text) is not None else text


def plain(text: str) -> str:
    """Return the text that `unmistakable` wrote down."""
    if text[:1] != _QUOTE:
        return text
    try:
        found = json.loads(text)
    except ValueError:  # an operator before this version wrote texts as they were
        return text
    return found if isinstance(found, str) else text


def with_escapes(written: str) -> str:
    """Return JSON with escapes for all that cannot be seen; its line ends, which stand outside of texts, stay."""
    if unseen(written.replace("\n", "")) is None:
        return written
    return _with(written, lambda each: each if each == "\n" else json.dumps(each)[1:-1])


def first_line(text: str, length: int) -> str:
    """Return the first line of a hostile text that says anything, for people, at most `length` long; empty where none does.

    Where that holds nothing but markup, it is the title of the page, or what stands in it first.
    """
    looked_at = text[:_LOOKED_AT]
    first = next((line for line in map(visible, looked_at.splitlines()) if line), "")
    if first.lower().startswith(_MARKUP) and not _TAG.sub("", first).strip():
        first = next((line for line in _said_by_page(looked_at) if line), first)
    return cut(first, length)


def _said_by_page(page: str) -> Iterator[str]:
    title = _TITLE.search(page)
    yield visible(html.unescape(title[1])) if title else ""
    yield from (visible(html.unescape(line)) for line in _TAG.sub(" ", page).splitlines())


def counted(number: int, thing: str) -> str:
    """Return how many there are of a thing: `1 alert`, `2 alerts`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def cut(text: str, length: int) -> str:
    """Return at most `length` characters; a cut is marked with an ellipsis."""
    return text if len(text) <= length else text[: length - len(_CUT)] + _CUT


def cut_counted(text: str, length: int) -> str:
    """Return the first `length` characters; behind a cut it stands how many the whole text has."""
    return text if len(text) <= length else f"{text[:length]}{_CUT} (cut; {len(text)} characters)"


def digest(text: str) -> str:
    """Return the SHA-256 of a text, written `sha256:…`."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def escaped(text: str, length: int) -> str:
    """Return hostile text for people: at most `length` of its characters, escapes for all that is not plain ASCII."""
    if len(text) <= length:
        return json.dumps(text)[1:-1]
    return json.dumps(text[: length - len(_CUT)])[1:-1] + _CUT


def quoted(text: str, length: int) -> str:
    """Return hostile text as `escaped` does, in double quotes."""
    return f'"{escaped(text, length)}"'


def _with(text: str, written: Callable[[str], str]) -> str:
    """Return the text with each character that cannot be seen written otherwise."""
    hidden = frozenset(_unseen(text))
    return "".join(written(each) if at in hidden else each for at, each in enumerate(text))


def _unseen(text: str) -> Iterator[int]:
    """Yield where the characters stand that cannot be seen."""
    marks = 0
    for at, character in enumerate(text):
        marks = marks + 1 if unicodedata.category(character) in _MARKS else 0
        if marks > _MOST_MARKS or not character.isprintable() or _LOOKS_EMPTY.match(character) is not None:
            yield at


def _first(unwanted: re.Pattern[str], text: str) -> str | None:
    found = unwanted.search(text)
    return f"U+{ord(found.group()):04X}" if found else None


_SPECIAL = re.compile(r"([\\`\[\]<>])")
_TICKS = re.compile(r"`+")
_OPENS_A_BLOCK = re.compile(r"^(?=[#*+~-])")


def markdown_text(text: str) -> str:
    """Return the text so that Markdown shows it as it is."""
    return _OPENS_A_BLOCK.sub(r"\\", _SPECIAL.sub(r"\\\1", visible(text)))


def code_span(text: str) -> str:
    """Return the text as a code span, in which nothing but its own end means anything; empty stays empty."""
    told = visible(text)
    if not told:
        return ""
    fence = "`" * (max((len(run) for run in _TICKS.findall(told)), default=0) + 1)
    room = " " if "`" in {told[0], told[-1]} else ""
    return f"{fence}{room}{told}{room}{fence}"


def cell(written: str) -> str:
    """Return Markdown as it stands in one cell of a table."""
    return written.replace("|", "\\|")


_WIDTH = 100
"""Lists and objects of plain values are written on one line where that is no longer than this."""
_INDENT = "  "
_PLAIN_KEY = re.compile(r"(?:[A-Za-z_]|\.[A-Za-z_]{4})[A-Za-z0-9_./-]*")
"""Of what begins with a dot, `.nan`, `.inf` and `.5` are numbers."""
_NO_KEYS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""What YAML readers take for something else than a text."""
_FIRST = ("apiVersion", "kind", "metadata", "name", "image", "command", "args")
"""Keys that people look for first; the others follow in the order of the alphabet."""


def yaml_lines(value: Any) -> list[str]:
    """Return decoded JSON as lines of YAML, the same for the same value whatever the order of its keys."""
    return list(_yaml_lines(value))


def _yaml_lines(value: Any) -> Iterator[str]:
    if (short := _on_one_line(value)) is not None:
        yield short
    elif isinstance(value, Mapping):
        for key in _yaml_order(value):
            yield from _yaml_entry(f"{_yaml_key(key)}:", value[key])
    else:
        for item in value:
            first, *others = _yaml_lines(item)
            yield f"- {first}"
            yield from (f"{_INDENT}{line}" for line in others)


def _yaml_entry(key: str, value: Any) -> Iterator[str]:
    if (short := _on_one_line(value)) is not None:
        yield f"{key} {short}"
        return
    yield key
    yield from (f"{_INDENT}{line}" for line in _yaml_lines(value))


def _on_one_line(value: Any) -> str | None:
    """Return a value that has no lines of its own: a plain one, or a short list or object of plain ones."""
    if not isinstance(value, Mapping | list):
        return _yaml_scalar(value)
    inside = value.values() if isinstance(value, Mapping) else value
    if any(isinstance(item, Mapping | list) for item in inside):
        return None
    if isinstance(value, Mapping):
        written = f"{{{', '.join(f'{_yaml_key(key)}: {_yaml_scalar(value[key])}' for key in _yaml_order(value))}}}"
    else:
        written = f"[{', '.join(_yaml_scalar(item) for item in value)}]"
    return written if len(written) <= _WIDTH else None


def _yaml_scalar(value: Any) -> str:
    return line(value) if isinstance(value, str) else json.dumps(value, default=str)


def _yaml_key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) and key.lower() not in _NO_KEYS else line(key)


def _yaml_order(value: Mapping[str, Any]) -> list[str]:
    return sorted(value, key=lambda key: (_FIRST.index(key) if key in _FIRST else len(_FIRST), key))
