"""Expressions: compiled once, evaluated to a value or to `NoAnswer`, never to an exception. A defect is told with place and remedy.

The only module that knows the CEL library (cel-expr-python 0.1.3). It returns most errors as values that look like text, so every
evaluation is checked here. It cuts a text at NUL, fails on lone surrogates and on integers beyond 64 bits, and crashes the process on
nesting beyond its stack and on reading an optional inside a list or map as a whole: all that is kept from it here. What may take more than
its share of time and memory (`weight.py`) is evaluated by whoever was asked to (`evaluated_by`). No decision lives here.
"""

import base64
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any

import pydantic
from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from incident_operator.core import texts
from incident_operator.core.expressions import weight
from incident_operator.core.expressions.weight import Reference, Weight
from incident_operator.core.outcomes import Json
from incident_operator.core.sanitize import WRAPPED

_WHERE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_STATUS = re.compile(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$")
_UNFINISHED = "the expression ends too early"
NO_MEMORY = "it needs more memory than there is"


_NO_DATA = "no data"
"""Said where an answer has no row, no series or no value, which is the commonest reason of no answer."""
_NULL = "null_type"


def _overload(found: re.Match[str]) -> str:
    operator = found[1].replace("_", "").replace("@", "")
    why = f"{operator} does not work on ({found[2].replace(_NULL, 'null')})"
    return f"{_NO_DATA}: {why}" if _NULL in found[2] else why


_Wording = tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]
_COMPILE_WORDING: _Wording = (
    (re.compile(r"Syntax error: (mismatched input|no viable alternative at input) '<EOF>'.*"), _UNFINISHED),
    (re.compile(r"Syntax error: missing '(.*)' at '<EOF>'.*"), r"'\1' is missing at the end"),
    (re.compile(r"Syntax error: missing '(.*)' at '(.*)'.*"), r"'\1' is missing before '\2'"),
    (re.compile(r"Syntax error: token recognition error at: '(['\"].*)'"), r"the text \1 is never closed"),
    (re.compile(r"Syntax error: (?:extraneous|mismatched) input '(.*?)' expecting.*"), r"unexpected '\1'"),
    (re.compile(r"Syntax error: no viable alternative at input '(.*)'"), r"unexpected '\1'"),
    (re.compile(r"Syntax error: token recognition error at: '(.*)'"), r"unexpected '\1'"),
    (re.compile(r"found no matching overload for '(.*?)' applied to '\((.*)\)'.*"), _overload),
    (re.compile(r"undeclared reference to '(.*?)'.*"), r"there is no '\1'"),
    (re.compile(r".*(recursion depth|recursion limit).*"), "nested too deeply (32 levels, a chain of + or && counts)"),
)
_RUN_WORDING: _Wording = (
    (re.compile(r'Key not found in map : "?(.*?)"?$'), r'there is no "\1"'),
    (re.compile(r"Index error: index=(-?\d+) size=0"), rf"{_NO_DATA}: element \1 is missing: the list is empty"),
    (re.compile(r"Index error: index=(-?\d+) size=(\d+)"), r"a list of \2 has no element \1"),
    (re.compile(r"No matching overloads found : <jump_condition>"), "the condition before ? is neither true nor false"),
    (re.compile(r"No matching overloads found : (.*?)\((.*)\)"), _overload),
    (re.compile(r"Iteration budget exceeded"), "it iterates more than 10000 times"),
    (re.compile(r"std::bad_alloc"), NO_MEMORY),
    (
        re.compile(r"Applying SELECT to non-message type"),
        "the value before the dot has no fields (it is null, a text or a number)",
    ),
)
_MISSING_KEY = re.compile(r'Key not found in map : "(.*?)"')


def compile_error(text: str) -> tuple[int, int, str]:
    """Return line, column (both from 1) and message of a refused expression."""
    found = _WHERE.search(text)
    if found is None:
        return 1, 1, _reworded(_without_status(text), _COMPILE_WORDING)
    line, column = max(int(found[1]), 1), max(int(found[2]), 1)
    return line, column, _reworded(_without_status(found[3]), _COMPILE_WORDING)


def evaluation_error(text: str) -> str:
    """Return why an evaluation gave no answer, without the library's status words."""
    return _reworded(_without_status(text), _RUN_WORDING)


def missing_key(text: str) -> str | None:
    """Return the key that a map did not have, where that is what went wrong."""
    found = _MISSING_KEY.search(text)
    return found[1] if found else None


def _without_status(text: str) -> str:
    return _STATUS.sub("", text.strip())


def _reworded(text: str, wording: _Wording) -> str:
    for pattern, words in wording:
        if pattern.fullmatch(text):
            return pattern.sub(words, text)
    return text


MAX_DEPTH = WRAPPED
REPLACEMENT = "\ufffd"
"""Stands for NUL and for lone surrogates."""

_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


class UnusableError(ValueError):
    """A value that an expression cannot take or give; the message says why."""


def clean(text: str) -> str:
    """Return the text with U+FFFD for every character that no database, header or shell would take."""
    return _UNUSABLE.sub(REPLACEMENT, text)


def to_cel(value: Any, depth: int = 0) -> Any:
    """Return decoded JSON as the library takes it; raises `UnusableError` for nesting beyond `MAX_DEPTH`."""
    if depth > MAX_DEPTH:
        raise UnusableError(f"the data is nested deeper than {MAX_DEPTH} levels")
    match value:
        case None | bool():
            return value
        case float():
            return float(value)  # of what the database sent there may be more than a double
        case str():
            return clean(value)
        case int():
            return value if _INT_MIN <= value <= _INT_MAX else _double(value)
        case Mapping():
            return {to_cel(str(key)): to_cel(item, depth + 1) for key, item in value.items()}
        case Sequence():
            return [to_cel(item, depth + 1) for item in value]
        case _:
            raise UnusableError(f"the data holds a {type(value).__name__}, which is not JSON")


def longest(value: Any) -> int:
    """Return the number of elements of the longest list or map in decoded JSON."""
    found, left = 0, [value]
    while left:
        each = left.pop()
        if isinstance(each, Mapping):
            each = each.values()
        elif isinstance(each, str) or not isinstance(each, Sequence):
            continue
        found = max(found, len(each))
        left.extend(each)
    return found


def to_json(value: Any) -> Any:
    """Return the library's value as JSON; raises `UnusableError` for an error and for what JSON cannot say."""
    kind = value.type().name()
    if kind.startswith("LIST"):
        return [to_json(item) for item in value.value()]
    if kind.startswith("MAP"):
        return {clean(_key(key)): to_json(item) for key, item in value.value().items()}
    if kind == "ERROR":
        raise UnusableError(_error_text(value))
    return _scalar(kind, value.plain_value())


def _scalar(kind: str, plain: Any) -> Any:
    match plain:
        case str():
            return clean(plain)
        case None | bool() | int():
            return plain
        case float() if math.isfinite(plain):
            return plain
        case float():
            raise UnusableError("the number is not finite (a division by zero?)")
        case bytes() | bytearray():
            return base64.b64encode(plain).decode()
        case datetime():
            return plain.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return f"{plain.total_seconds():.9f}".rstrip("0").rstrip(".") + "s"
        case _:
            raise UnusableError(f"a value of CEL type {kind.lower()} cannot be kept")


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return str(key).lower()
    return str(key)


def _error_text(value: Any) -> str:
    try:
        return str(value.plain_value())
    except TypeError:  # the library types an optional as an error, and cannot say more
        return "the value is optional; end it with .orValue(…)"


def _double(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


MAX_SOURCE = 1024
"""Characters of one expression, as in the CRD."""
LONG_LIST = 200
"""Elements of one list beyond which what copies lists is heavy; up to it, it takes a few milliseconds."""
_EXCERPT = 100
_NOT_DECLARED = "there is no '"
_HYPHENATED = re.compile(r"\bsteps\.([a-z0-9]+(?:-[a-z0-9]+)+)")
_FAILURES = (RuntimeError, TypeError, ValueError, OverflowError, SystemError, MemoryError)
"""All that the library was seen to raise, on compiling and on evaluating."""


class Scope(Enum):
    """Where an expression stands, which says what it may name."""

    PARAMETER = ("alert",)
    STEP = ("incident", "params", "steps")
    RESULT = ("incident", "params", "steps", "result")

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables there are."""
        names: tuple[str, ...] = self.value
        return names


@dataclass(frozen=True, slots=True)
class CompileError:
    """Why a text is not a valid expression, and where."""

    message: str
    source: str
    line: int = 1
    column: int = 1
    """Both are counted from 1, in characters."""

    @property
    def excerpt(self) -> str:
        """The line with a caret under the place, cut around it where it is long."""
        text = (self.source.split("\n")[self.line - 1 : self.line] or [""])[0]
        first = max(0, self.column - 1 - _EXCERPT // 2)
        return f"{text[first : first + _EXCERPT]}\n{' ' * (self.column - 1 - first)}^"


def error_at(source: str, offset: int, message: str) -> CompileError:
    """Return the error of the place at an offset of the source."""
    before = source[:offset]
    return CompileError(message, source, before.count("\n") + 1, offset - before.rfind("\n"))


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression; safe to share between threads."""

    source: str
    scope: Scope
    references: tuple[Reference, ...]
    compiled: Any = field(repr=False, compare=False)
    weight: Weight = Weight.LIGHT
    """What its evaluation may take."""
    parts: int = 0
    """Of how many parts it is, at most: what it takes while it is kept."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No answer: neither true nor false."""

    why: str
    """For people; names the step whose answer is missing, e.g. `packs failed (connection refused)`."""
    missing: str | None = None
    """The key that a map did not have, where that is why."""
    over_budget: bool = False
    """Whether it took more time or memory than an expression may."""


Evaluator = Callable[[Program, Mapping[str, Json], datetime], Json | NoAnswer]
"""Evaluates as `evaluate_here` does, elsewhere: within a budget of time and memory."""


@dataclass(frozen=True, slots=True)
class StepFact:
    """What is known of one step."""

    state: str
    outputs: Mapping[str, Json] | None = None
    note: str = ""
    """Why there are no outputs, for people."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the expressions of steps may know."""

    incident: Mapping[str, Json]
    """{name, severity, resolved, alerts: [{labels, annotations, startsAt, status}]}."""
    params: Mapping[str, Json]
    steps: Mapping[str, StepFact]


_now: ContextVar[datetime] = ContextVar("now")
_elsewhere: ContextVar[Evaluator | None] = ContextVar("elsewhere", default=None)
_left: ContextVar[list[int] | None] = ContextVar("left", default=None)
"""Parts that may still be compiled, in a list of one number; None for any number."""


def compile_value(source: str, scope: Scope) -> Program | CompileError:
    """Compile an expression of any type."""
    if len(source) > MAX_SOURCE:
        return CompileError(f"{len(source)} characters; an expression may have {MAX_SOURCE}", source)
    if not source.strip():
        return CompileError("the expression is empty", source)
    if clean(source) != source:
        return CompileError("holds a NUL or half a surrogate pair", clean(source))
    parts = weight.parts(source)
    if told := _too_many(source, parts):
        return CompileError(told, source)
    try:
        compiled = _environment(scope).compile(source)
    except _FAILURES as error:
        return _compile_error(source, scope, str(error))
    return Program(source, scope, weight.references(source), compiled, weight.weight(source), parts)


def compile_condition(source: str, scope: Scope) -> Program | CompileError:
    """Compile an expression that must give true or false."""
    program = compile_value(source, scope)
    if isinstance(program, CompileError):
        return program
    gives = program.compiled.return_type()
    if gives in (cel.Type.BOOL, cel.Type.DYN):
        return program
    return CompileError(f"gives {gives.name().lower()}, but a condition gives true or false", source)


@contextmanager
def compiled_at_most(parts: int) -> Iterator[None]:
    """Let the expressions that the block compiles be of so many parts together; what is beyond that does not compile."""
    token = _left.set([parts])
    try:
        yield
    finally:
        _left.reset(token)


def _too_many(source: str, parts: int) -> str:
    """Say why an expression is of too many parts to be compiled, and count it where it is not; empty then."""
    if weight.doublings(source) > weight.MAX_DOUBLINGS:
        return f"it uses optMap and optFlatMap more than {weight.MAX_DOUBLINGS} times, and each use doubles its size"
    if parts > weight.MAX_PARTS:
        return f"it has {parts} parts, {weight.MAX_PARTS} at most: optMap and optFlatMap each double its size; use fewer of them, or a shorter expression"
    left = _left.get()
    if left is None:
        return ""
    left[0] -= parts
    return (
        "with it the Runbook's expressions have too many parts; optMap and optFlatMap each double them"
        if left[0] < 0
        else ""
    )


@contextmanager
def evaluated_by(evaluator: Evaluator) -> Iterator[None]:
    """Have heavy expressions evaluated by another one than this process for the block's time."""
    token = _elsewhere.set(evaluator)
    try:
        yield
    finally:
        _elsewhere.reset(token)


def evaluate(program: Program, variables: Mapping[str, Json], now: datetime) -> Json | NoAnswer:
    """Return the value as JSON: times as RFC 3339 text, durations as `90s`, bytes as base64.

    `now` is a moment with a time zone; it is what `now()` gives. Raises only what the evaluator of heavy expressions does.
    """
    elsewhere = _elsewhere.get()
    if elsewhere is not None and _is_heavy(program, variables):
        return elsewhere(program, variables, now)
    return evaluate_here(program, variables, now)


def evaluate_here(program: Program, variables: Mapping[str, Json], now: datetime) -> Json | NoAnswer:
    """Return the same, evaluated by this process whatever it takes. Never raises."""
    token = _now.set(now)
    try:
        data = {name: to_cel(value) for name, value in variables.items()}
        return to_json(program.compiled.eval(data=data))
    except _FAILURES as error:
        told = str(error)
        why, missing = evaluation_error(told), missing_key(told)
        return NoAnswer(why, missing, over_budget=isinstance(error, MemoryError) or why == NO_MEMORY)
    finally:
        _now.reset(token)


def _is_heavy(program: Program, variables: Mapping[str, Json]) -> bool:
    if program.weight is Weight.BY_LENGTH:
        return longest(variables) > LONG_LIST
    return program.weight is Weight.HEAVY


@cache
def _environment(scope: Scope) -> Any:
    of_names = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    moment = cel.Overload("now", return_type=cel.Type.TIMESTAMP, parameters=[], impl=_now.get)
    return cel.NewEnv(
        variables=dict.fromkeys(scope.variables, of_names),
        extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional()],
        functions=[cel.FunctionDecl("now", [moment])],
    )


def _compile_error(source: str, scope: Scope, text: str) -> CompileError:
    line, column, message = compile_error(text)
    hyphenated = _HYPHENATED.search(source)
    if hyphenated and message.startswith(_NOT_DECLARED):
        return error_at(source, hyphenated.start(1), f'a name with a hyphen is written steps["{hyphenated[1]}"]')
    if message.startswith(_NOT_DECLARED):
        message += f"; here there are {', '.join(scope.variables)} and now()"
    return CompileError(message, source, line, column)


@dataclass(frozen=True, slots=True)
class Problem:
    """One defect, for the Runbook's `Ready` condition."""

    path: str
    """The field, e.g. `spec.mitigate[0].when`."""
    message: str
    excerpt: str = ""
    """The line of an expression with a caret under the place; empty where there is no expression."""
    elsewhere: bool = False
    """Whether another object mends it, such as a Connection that is yet to come."""

    def __str__(self) -> str:
        """Return it as it is shown: place and message on one line, then the excerpt; whatever keys the author wrote."""
        told = texts.visible(f"{self.path}: {self.message}")
        return f"{told}\n{texts.visible_page(self.excerpt)}" if self.excerpt else told


def of_expression(path: str, error: CompileError) -> Problem:
    """Return the problem of a field whose expression does not compile."""
    return Problem(path, error.message, error.excerpt)


def of_validation(error: pydantic.ValidationError, path: str = "") -> Problem:
    """Return the first thing that is wrong with what a model was made from; `path` is where that stands."""
    return all_of_validation(error, path)[0]


def all_of_validation(error: pydantic.ValidationError, path: str = "") -> tuple[Problem, ...]:
    """Return all that is wrong with what a model was made from; none of it tells the value, which may be secret."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return tuple(Problem(field_of(path, each["loc"]), each["msg"]) for each in found)


def field_of(path: str, way: tuple[str | int, ...]) -> str:
    """Return the path of a field below another, e.g. `spec.mitigate[0].scale.replicas`."""
    return (path + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in way)).removeprefix(".")
