"""Checks of SQL and PromQL: one statement of the right kind, and a value for everything that it binds."""

from collections.abc import Iterator
from dataclasses import dataclass

from incident_operator.api import actions
from incident_operator.core.expressions import expr, problems
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks import statements
from incident_operator.core.runbooks.compiler_draft import Draft, PlacedAction

_MARKER = "marker"
"""Bound by sqlExecute itself, to the step key."""


@dataclass(frozen=True, slots=True)
class _Sql:
    path: str
    text: str
    allowed: frozenset[str]
    params: frozenset[str]
    marked: bool = True
    """Whether the action binds the marker."""


def statements_are_single(draft: Draft) -> Iterator[Problem]:
    """Require that an SQL text is one statement of a kind that the action is for."""
    for sql in _all_sql(draft):
        keyword = statements.first_keyword(sql.text)
        if keyword not in sql.allowed:
            told = f"begins with {keyword or 'no keyword'}; allowed are {', '.join(sorted(sql.allowed))}"
            yield Problem(sql.path, told)
        second = statements.second_statement(sql.text)
        if second is not None:
            yield _at(sql, second, "a second statement begins here; list several under statements of sqlExecute")


def placeholders_are_bound(draft: Draft) -> Iterator[Problem]:
    """Require a value for every `%(name)s`, outside quotes, and that any other percent sign is doubled."""
    for sql in _all_sql(draft):
        for placeholder in statements.placeholders(sql.text):
            message = _complaint(sql, placeholder)
            if message:
                yield _at(sql, placeholder.offset, message)
    for action in draft.actions:
        if isinstance(action.spec, actions.Promql):
            yield from _promql(action, action.spec)


def the_marker_is_free(draft: Draft) -> Iterator[Problem]:
    """Require that no parameter takes the name that sqlExecute binds itself."""
    for sql in _all_sql(draft):
        if sql.marked and _MARKER in sql.params:
            where = f"{sql.path.removesuffix('statement')}params.{_MARKER}"
            yield Problem(where, f"is taken: %({_MARKER})s is bound to the step key; choose another name")


def _complaint(sql: _Sql, placeholder: statements.Placeholder) -> str:
    name = placeholder.name
    if name is None:
        return "a percent sign in SQL is written %%; a value is written %(name)s"
    if name not in sql.params and not (sql.marked and name == _MARKER):
        return f"params has no {name}"
    if statements.is_quoted(sql.text, placeholder.offset):
        return f"%({name})s stands inside quotes; a bound value takes none"
    return ""


def _promql(action: PlacedAction, spec: actions.Promql) -> Iterator[Problem]:
    for placeholder in statements.placeholders(spec.query):
        if placeholder.name is not None and placeholder.name not in spec.params:
            error = expr.error_at(spec.query, placeholder.offset, f"params has no {placeholder.name}")
            yield problems.of_expression(f"{action.path}.query", error)


def _all_sql(draft: Draft) -> Iterator[_Sql]:
    for action in draft.actions:
        match action.spec:
            case actions.SqlQuery() as query:
                params = frozenset(query.params)
                yield _Sql(f"{action.path}.statement", query.statement, statements.READING, params, marked=False)
            case actions.SqlExecute() as execute:
                yield from _of_execute(action.path, execute)


def _of_execute(path: str, spec: actions.SqlExecute) -> Iterator[_Sql]:
    if spec.statement is not None:
        yield _Sql(f"{path}.statement", spec.statement, statements.CHANGING, frozenset(spec.params))
    for index, each in enumerate(spec.statements):
        place = f"{path}.statements[{index}].statement"
        yield _Sql(place, each.statement, statements.CHANGING, frozenset(each.params))
    if spec.before is not None:
        yield _Sql(f"{path}.before.statement", spec.before.statement, statements.READING, frozenset(spec.before.params))


def _at(sql: _Sql, offset: int, message: str) -> Problem:
    return problems.of_expression(sql.path, expr.error_at(sql.text, offset, message))
