"""Which steps, parameters and fields an expression names, read from its text without evaluating it.

The library checks syntax and types, but `steps`, `params` and `result` are maps to it; only their names are wrong more
often than anything else. No decision about what is allowed lives here.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ROOTS = frozenset({"steps", "params", "incident", "result", "alert"})

_TOKEN = re.compile(
    r'(?P<space>\s+|//[^\n]*)'
    r'|(?P<string>[bB]?[rR][bB]?(?:"""(?:.*?)"""|\'\'\'(?:.*?)\'\'\'|"[^"\n]*"|\'[^\'\n]*\')'
    r'|[bB]?(?:"""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'))'
    r'|(?P<unclosed>"(?:\\.|[^"\\\n])*\\?|\'(?:\\.|[^\'\\\n])*\\?)'
    r'|(?P<quoted>`[^`\n]*`)'
    r'|(?P<name>[A-Za-z_][A-Za-z0-9_]*)'
    r'|(?P<number>[0-9](?:[0-9A-Za-z_]|\.(?=[0-9]))*)'
    r'|(?P<mark>.)',
    re.DOTALL,
)  # fmt: skip
_PLAIN_STRING = re.compile(r'"([^"\\\n]*)"|\'([^\'\\\n]*)\'')
_OPERAND_ENDS = frozenset({")", "]", "}"})


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an expression; spaces and comments are none."""

    kind: str
    """`string`, `quoted`, `name`, `number`, `mark` (one character of punctuation), or `unclosed`: a text that never ends.

    That one goes on to the end of its line, and no expression with one compiles.
    """
    text: str
    start: int
    """Offset of its first character in the source."""

    @property
    def end(self) -> int:
        """Offset just after it."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Reference:
    """A variable and the fixed path below it: `steps.packs.outputs.fresh` is `steps` and (packs, outputs, fresh)."""

    root: str
    path: tuple[str, ...]
    """Names below the root as far as the text fixes them; empty for `steps[params.x]` and a bare `steps`."""
    offset: int
    """Where the root stands in the source."""
    end: int
    """Where the path ends in the source."""


def tokens(source: str, start: int = 0) -> Iterator[Token]:
    """Yield the tokens of an expression from an offset on; never raises."""
    for match in _TOKEN.finditer(source, start):
        if match.lastgroup != "space":
            yield Token(str(match.lastgroup), match.group(), match.start())


def references(source: str) -> tuple[Reference, ...]:
    """Return every use of a known variable, in order."""
    listed = tuple(tokens(source))
    roots = [at for at, token in enumerate(listed) if token.text in ROOTS and not is_member(listed, at)]
    return tuple(_reference(listed, at) for at in roots)


def closing_brace(source: str, start: int) -> int | None:
    """Return the offset of the `}` that closes an expression begun at `start`, or None where it never closes."""
    depth = 0
    for token in tokens(source, start):
        if token.kind == "unclosed":  # to look further takes long, and what is wrong can be told by now
            found = source.find("}", token.start)
            return found if found >= 0 else None
        if token.text == "{":
            depth += 1
        if token.text == "}":
            if depth == 0:
                return token.start
            depth -= 1
    return None


def is_member(listed: Sequence[Token], at: int) -> bool:
    """Tell a field or method called `steps` from the variable; `.steps` with nothing before the dot is the variable."""
    dot = at - 2 if at > 0 and listed[at - 1].text == "?" else at - 1
    if dot < 1 or listed[dot].text != ".":
        return False
    before = listed[dot - 1]
    return before.text != "in" and (before.kind != "mark" or before.text in _OPERAND_ENDS)


def _reference(listed: Sequence[Token], at: int) -> Reference:
    path: list[str] = []
    end, place = listed[at].end, at + 1
    while (step := _accessor(listed, place)) is not None:
        name, place = step
        path.append(name)
        end = listed[place - 1].end
    return Reference(listed[at].text, tuple(path), listed[at].start, end)


def _accessor(listed: Sequence[Token], at: int) -> tuple[str, int] | None:
    """Read one `.name`, `.?name`, `["name"]` or `[?"name"]`; None for a method call or a computed index."""
    if at >= len(listed) or listed[at].text not in {".", "["}:
        return None
    optional = at + 1 < len(listed) and listed[at + 1].text == "?"
    after = at + (2 if optional else 1)
    rest = listed[after : after + 2]
    if listed[at].text == ".":
        return _member(rest, after)
    return _index(rest, after)


def _member(rest: Sequence[Token], after: int) -> tuple[str, int] | None:
    if not rest or rest[0].kind not in {"name", "quoted"}:
        return None
    if len(rest) > 1 and rest[1].text == "(":
        return None
    return rest[0].text.strip("`"), after + 1


def _index(rest: Sequence[Token], after: int) -> tuple[str, int] | None:
    if len(rest) < 2 or rest[1].text != "]":
        return None
    plain = _PLAIN_STRING.fullmatch(rest[0].text)
    if plain is None:
        return None
    return plain[1] if plain[1] is not None else plain[2], after + 2
