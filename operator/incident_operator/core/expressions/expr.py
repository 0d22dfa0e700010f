"""Expressions: compiled once, evaluated to a value or to `NoAnswer`, never to an exception.

The only module that knows the CEL library (cel-expr-python). It returns most errors as values that look like text, so
every evaluation is checked here; what it would crash on is kept from it in `expr_values`, and what may take more than its share
of time and memory (`expr_weight`) is evaluated by whoever was asked to (`evaluated_by`). No decision lives here.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from incident_operator.core.expressions import expr_messages, expr_references, expr_values, expr_weight
from incident_operator.core.expressions.expr_references import Reference
from incident_operator.core.expressions.expr_weight import Weight
from incident_operator.core.outcomes import Json

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
    if expr_values.clean(source) != source:
        return CompileError("holds a NUL or half a surrogate pair", expr_values.clean(source))
    parts = expr_weight.parts(source)
    if told := _too_many(source, parts):
        return CompileError(told, source)
    try:
        compiled = _environment(scope).compile(source)
    except _FAILURES as error:
        return _compile_error(source, scope, str(error))
    return Program(source, scope, expr_references.references(source), compiled, expr_weight.weight(source), parts)


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
    if expr_weight.doublings(source) > expr_weight.MAX_DOUBLINGS:
        return (
            f"it uses optMap and optFlatMap more than {expr_weight.MAX_DOUBLINGS} times, and each use doubles its size"
        )
    if parts > expr_weight.MAX_PARTS:
        return f"it has {parts} parts, {expr_weight.MAX_PARTS} at most: optMap and optFlatMap each double its size; use fewer of them, or a shorter expression"
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
        data = {name: expr_values.to_cel(value) for name, value in variables.items()}
        return expr_values.to_json(program.compiled.eval(data=data))
    except _FAILURES as error:
        told = str(error)
        why, missing = expr_messages.evaluation_error(told), expr_messages.missing_key(told)
        return NoAnswer(why, missing, over_budget=isinstance(error, MemoryError) or why == expr_messages.NO_MEMORY)
    finally:
        _now.reset(token)


def _is_heavy(program: Program, variables: Mapping[str, Json]) -> bool:
    if program.weight is Weight.BY_LENGTH:
        return expr_values.longest(variables) > LONG_LIST
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
    line, column, message = expr_messages.compile_error(text)
    hyphenated = _HYPHENATED.search(source)
    if hyphenated and message.startswith(_NOT_DECLARED):
        return error_at(source, hyphenated.start(1), f'a name with a hyphen is written steps["{hyphenated[1]}"]')
    if message.startswith(_NOT_DECLARED):
        message += f"; here there are {', '.join(scope.variables)} and now()"
    return CompileError(message, source, line, column)
