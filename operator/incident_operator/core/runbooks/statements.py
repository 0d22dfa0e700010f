"""SQL as text: its first keyword, how many statements it holds, which values it binds. It is not parsed any further.

A first look only, so that a mistake is shown before an incident; at run time the role's privileges and the prepared,
single statement are what holds. Lexical rules: <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

READING = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "SHOW"})
CHANGING = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "SELECT"})

_PART = re.compile(
    r"(?P<space>\s+|--[^\n]*)"
    r"|(?P<comment>/\*)"
    r"|(?P<quoted>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$)"
    r"|(?P<word>[A-Za-z_][\w$]*)"
    r"|(?P<mark>.)",
    re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_PLACEHOLDER = re.compile(r"%(?:\((?P<name>[^)]*)\)s|(?P<percent>%)|(?P<stray>.?))", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A `%` in a statement, where it is not doubled."""

    name: str | None
    """The name of `%(name)s`; None for a stray percent sign."""
    offset: int


@dataclass(frozen=True, slots=True)
class _Part:
    kind: str
    text: str
    start: int


def first_keyword(statement: str) -> str:
    """Return the first word in capitals, past comments and parentheses; empty where there is none."""
    first = next((part for part in _parts(statement) if part.text != "("), None)
    return first.text.upper() if first is not None and first.kind == "word" else ""


def complaint(where: str, statement: str, allowed: frozenset[str]) -> str:
    """Say what is wrong with a statement's first word; empty where nothing is."""
    word = first_keyword(statement)
    if word in allowed:
        return ""
    return f"{where}: begins with {word or 'no keyword'}; allowed are {', '.join(sorted(allowed))}"


def second_statement(statement: str) -> int | None:
    """Return the offset of what follows a semicolon, or None where it is a single statement."""
    ended = False
    for part in _parts(statement):
        if ended:
            return part.start
        ended = part.text == ";"
    return None


def placeholders(statement: str) -> tuple[Placeholder, ...]:
    """Return every `%(name)s` and every stray `%`; the driver looks for them everywhere, in quotes too."""
    found = _PLACEHOLDER.finditer(statement)
    return tuple(Placeholder(match["name"], match.start()) for match in found if match["percent"] is None)


def is_quoted(statement: str, offset: int) -> bool:
    """Tell whether the character at an offset stands inside quotes."""
    quoted = (part for part in _parts(statement) if part.kind == "quoted")
    return any(part.start < offset < part.start + len(part.text) for part in quoted)


def _parts(statement: str) -> Iterator[_Part]:
    at = 0
    while at < len(statement):
        match = _PART.match(statement, at)
        if match is None:  # cannot be: the last alternative takes any character
            return
        at = _after_comment(statement, at) if match["comment"] else match.end()
        if not match["space"] and not match["comment"]:
            kind = "quoted" if match["quoted"] else "word" if match["word"] else "mark"
            yield _Part(kind, match.group(), match.start())


def _after_comment(statement: str, at: int) -> int:
    """Return the offset after a block comment; they nest in PostgreSQL."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(statement, at):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(statement)
