"""Checks of SQL and PromQL: one statement of the right kind, and a value for everything that it binds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from incident_operator.core.expressions import expr, problems
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks import statements

_MARKER = "marker"
"""Bound by an action that leaves one, to the step key."""


@dataclass(frozen=True, slots=True)
class Sql:
    """An SQL text of an action."""

    path: str
    """E.g. `spec.mitigate[0].sqlExecute.statement`."""
    text: str
    allowed: frozenset[str]
    """First keywords: `statements.READING` or `statements.CHANGING`."""
    params: Mapping[str, Any]
    marked: bool = True
    """Whether the action binds the marker."""


def sql(text: Sql) -> Iterator[Problem]:
    """Require one statement of an allowed kind, a value for every placeholder, and that the marker's name is free."""
    yield from _is_single(text)
    in_quotes = statements.in_quotes(text.text)
    for placeholder in statements.placeholders(text.text):
        message = _complaint(text, placeholder, quoted=in_quotes(placeholder.offset))
        if message:
            yield _at(text, placeholder.offset, message)
    if text.marked and _MARKER in text.params:
        where = f"{text.path.removesuffix('statement')}params.{_MARKER}"
        yield Problem(where, f"is taken: %({_MARKER})s is bound to the step key; choose another name")


def promql(path: str, query: str, params: Mapping[str, Any]) -> Iterator[Problem]:
    """Require a value for every placeholder of a query."""
    for placeholder in statements.placeholders(query):
        if placeholder.name is not None and placeholder.name not in params:
            error = expr.error_at(query, placeholder.offset, f"params has no {placeholder.name}")
            yield problems.of_expression(path, error)


def _is_single(text: Sql) -> Iterator[Problem]:
    if wrong := statements.complaint("", text.text, text.allowed):
        yield Problem(text.path, wrong.removeprefix(": "))
    second = statements.second_statement(text.text)
    if second is not None:
        yield _at(text, second, "a second statement begins here; list several under statements of sqlExecute")


def _complaint(text: Sql, placeholder: statements.Placeholder, *, quoted: bool) -> str:
    name = placeholder.name
    if name is None:
        return "a percent sign in SQL is written %%; a value is written %(name)s"
    if name not in text.params and not (text.marked and name == _MARKER):
        return f"params has no {name}"
    if quoted:
        return f"%({name})s is inside quotes; a bound value needs none"
    return ""


def _at(text: Sql, offset: int, message: str) -> Problem:
    return problems.of_expression(text.path, expr.error_at(text.text, offset, message))
