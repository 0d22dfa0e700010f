"""What an expression names and may cost, read from its text without evaluating it.

A Runbook's author chooses the expression, and whoever answers a step chooses the data. So in the operator's own process stays
only what takes time and memory in proportion to the data; all that builds texts, multiplies lists or looks at everything for
each element is heavy, and what is not known here is heavy too. Measured on cel-expr-python 0.1.3: `replace` eight times takes
2 GiB and half a minute, `filter` and `map` copy what they have so far for each element (1.5 s for 9,000), and each `optMap`
doubles what stands before it while it is compiled (18 of them: 880 MiB, 3 s).

The library checks syntax and types, but `steps`, `params` and `result` are maps to it: their names are read here, for the compiler's checks.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

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


MAX_DOUBLINGS = 8
"""`optMap` and `optFlatMap` in one expression: each of them may double its size."""
MAX_PARTS = 32 * 1024
"""Of one expression once it is compiled, about 140 bytes each."""
RUNBOOK_PARTS = 32 * 1024
"""Of all expressions of a Runbook together: seventy times those of the largest that we know, and about 5 MiB."""
MAX_COPIES = 4
"""Uses of variables but `params` in a light expression that puts values together (`+`, a list, a map): each may bring all data."""


class Weight(IntEnum):
    """What an evaluation takes of time and memory."""

    LIGHT = 0
    """In proportion to the data."""
    BY_LENGTH = 1
    """To the square of its longest list (`filter`, `map`)."""
    HEAVY = 2
    """More than that, or nobody knows."""


_EACH = 8
"""Parts that an expression counts for beside its own: the least takes a kilobyte."""
_DOUBLING = frozenset({"optMap", "optFlatMap"})
_COPYING = frozenset({"filter", "map"})
_MACROS = _COPYING | {"all", "exists", "exists_one"}
_LOOKING = frozenset({"contains", "indexOf", "lastIndexOf"})
"""These take as long as the text and what is looked for, multiplied."""
_LIGHT_CALLS = (
    frozenset({"has", "size", "type", "dyn", "now", "int", "uint", "double", "bool", "string", "bytes"})
    | frozenset({"startsWith", "endsWith", "charAt", "substring", "trim", "lowerAscii", "upperAscii"})
    | frozenset({"of", "none", "ofNonZeroValue", "or", "orValue", "hasValue", "value"})
    | frozenset({"timestamp", "duration", "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek"})
    | frozenset({"getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds"})
)
_WORDS = frozenset({"true", "false", "null", "in"})
_LITERALS = frozenset({"string", "number"})
_PLAIN_PATTERN = re.compile(r"""[rR]?(['"])(?!\1)(?:(?!\\[pPxXuU0-7])[^{]){1,64}\1""")
"""No repetition by number, no class of Unicode, and no escape that may stand for either: its matching stays quick."""
_OPEN_PLACES, _MOST_OPEN = frozenset(".[(\\"), 8
"""What stands for several characters. Behind a repetition each may double what has to be kept in mind of the text before: with
fifty of them RE2 takes a step for each at every byte, a second for eleven such patterns and one result.
"""


def doublings(source: str) -> int:
    """Return how often an expression may double what it is made of while it is compiled."""
    listed = tuple(tokens(source))
    return sum(1 for at, token in enumerate(listed) if token.text in _DOUBLING and _is(listed, at + 1, "("))


def parts(source: str) -> int:
    """Return of how many parts an expression is once it is compiled, at most: its own, doubled as often as may be."""
    own = _EACH + sum(1 for _ in tokens(source))
    return own << min(doublings(source), MAX_DOUBLINGS + 1)


def weight(source: str) -> Weight:
    """Return what the evaluation of an expression may take. Never raises, and never says less than it may be."""
    listed = tuple(tokens(source))
    calls = [at for at, token in enumerate(listed) if token.kind == "name" and _is(listed, at + 1, "(")]
    if not all(_is_light_call(listed, at) for at in calls) or _makes_messages(listed) or _copies_much(listed):
        return Weight.HEAVY
    return Weight.BY_LENGTH if any(listed[at].text in _COPYING for at in calls) else Weight.LIGHT


def _is_light_call(listed: Sequence[Token], at: int) -> bool:
    name, inside = listed[at].text, _inside(listed, at + 1)
    if name in _MACROS:
        return _is_light_macro(inside)
    if name in _LOOKING:
        return _is_small(inside)
    if name == "matches":
        return len(inside) == 1 and _is_quick(inside[0].text)
    return name in _LIGHT_CALLS


def _is_quick(pattern: str) -> bool:
    """Tell whether matching a pattern, a literal as it is written, takes no longer than reading the text."""
    return _PLAIN_PATTERN.fullmatch(pattern) is not None and sum(map(pattern.count, _OPEN_PLACES)) <= _MOST_OPEN


def _is_light_macro(inside: Sequence[Token]) -> bool:
    """Tell whether what is done for each element depends on that element and on what is small: parameters and literals."""
    if len(inside) < 3 or inside[0].kind != "name" or inside[0].text in ROOTS or inside[1].text != ",":
        return False
    own, body = inside[0].text, inside[2:]
    if any(token.text == "{" for token in body) or any(
        _is(body, at + 1, "(") for at, token in enumerate(body) if token.text in _MACROS
    ):
        return False
    known = {own, "params"} | _WORDS
    named = (at for at, token in enumerate(body) if token.kind == "name" and not is_member(body, at))
    if not all(body[at].text in known or _is(body, at + 1, "(") for at in named):
        return False
    return all(_joins_small(body, at) for at in _marks(body, "+")) and all(
        _is_literal_list(body, at) for at in _marks(body, "[") if not _is_index(body, at)
    )


def _joins_small(listed: Sequence[Token], at: int) -> bool:
    """Tell whether a `+` adds numbers, or joins parameters and literals; the element of a list is neither for sure."""
    if not 0 < at < len(listed) - 1:
        return False
    before, after = listed[at - 1], listed[at + 1]
    if "number" in {before.kind, after.kind}:
        return True
    return _ends_small(listed, at) and (after.kind == "string" or after.text == "params")


def _ends_small(listed: Sequence[Token], at: int) -> bool:
    """Tell whether a literal or a parameter ends just before a place."""
    if listed[at - 1].kind in _LITERALS:
        return True
    parameter = at > 2 and [token.text for token in listed[at - 3 : at - 1]] == ["params", "."]
    return parameter and not is_member(listed, at - 3)


def _is_small(inside: Sequence[Token]) -> bool:
    """Tell whether arguments are a literal or a parameter, maybe with an offset."""
    width = 0
    if inside and inside[0].kind == "string":
        width = 1
    if len(inside) > 2 and [token.text for token in inside[:2]] == ["params", "."] and inside[2].kind == "name":
        width = 3
    rest = inside[width:]
    return width > 0 and (not rest or (len(rest) == 2 and rest[0].text == "," and rest[1].kind == "number"))


def _is_literal_list(listed: Sequence[Token], at: int) -> bool:
    return all(token.kind in _LITERALS or token.text in {",", "-"} for token in _inside(listed, at))


def _makes_messages(listed: Sequence[Token]) -> bool:
    return any(
        token.kind == "name" and _is(listed, at + 1, "{") and token.text != "in" for at, token in enumerate(listed)
    )


def _copies_much(listed: Sequence[Token]) -> bool:
    """Tell whether values are put together that may each bring all the data there is."""
    lists = (at for at in _marks(listed, "[") if not _is_index(listed, at))
    builds = any(True for marks in (_marks(listed, "+"), _marks(listed, "{"), lists) for _ in marks)
    roots = (at for at, token in enumerate(listed) if token.text in ROOTS - {"params"})
    return builds and sum(not is_member(listed, at) for at in roots) > MAX_COPIES


def _is_index(listed: Sequence[Token], at: int) -> bool:
    """Tell the `[` that takes an element from the one that begins a list."""
    if at == 0:
        return False
    before = listed[at - 1]
    ends = before.kind in {"string", "quoted", "name"} and before.text != "in"
    return ends or before.text in _OPERAND_ENDS


def _inside(listed: Sequence[Token], at: int) -> Sequence[Token]:
    """Return what stands between a bracket and the one that closes it."""
    depth = 0
    for place in range(at, len(listed)):
        depth += (listed[place].text in {"(", "[", "{"}) - (listed[place].text in _OPERAND_ENDS)
        if depth == 0:
            return listed[at + 1 : place]
    return listed[at + 1 :]


def _marks(listed: Sequence[Token], text: str) -> Iterator[int]:
    return (at for at, token in enumerate(listed) if token.text == text)


def _is(listed: Sequence[Token], at: int, text: str) -> bool:
    return at < len(listed) and listed[at].text == text
