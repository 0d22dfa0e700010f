"""sqlQuery: one SELECT in a read-only transaction. Effect: read.

What the database role may read is the boundary; the rest is a belt to those braces.
"""

from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

from pydantic import Field

from incident_operator.actions.clients import Clients
from incident_operator.actions.fields import Params, Statement
from incident_operator.api.meta import Model, ObjectName
from incident_operator.clients.connections import named
from incident_operator.clients.queries import Query
from incident_operator.core import results
from incident_operator.core.action import Action, Call, Connects
from incident_operator.core.effects import Effect
from incident_operator.core.errors import Unusable
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.expressions.render_fields import Take
from incident_operator.core.outcomes import Outcome, Succeeded
from incident_operator.core.runbooks import compiler_statements, statements
from incident_operator.core.runbooks.compiler_statements import Sql


class SqlQuery(Model):
    """Runs one SELECT in a read-only transaction (effect: read)."""

    connection: Annotated[ObjectName, Connects("postgres")]
    """A Connection of type postgres."""
    statement: Statement
    """One SELECT; values come in through `params`, as `%(name)s`."""
    params: Annotated[Params, Take.NATIVE] = Field(default_factory=dict)
    """Values for `%(name)s` in the statement."""
    max_rows: Annotated[int, Field(ge=1, le=1000)] = 100
    """Rows kept; more are cut and `result.truncated` is true."""


class Result(TypedDict):
    """What `result` holds."""

    rows: list[dict[str, Any]]
    truncated: bool


def _check(spec: SqlQuery, path: str) -> Iterator[Problem]:
    yield from compiler_statements.sql(
        Sql(f"{path}.statement", spec.statement, statements.READING, spec.params, marked=False)
    )


async def read(call: Call[SqlQuery], clients: Clients) -> Outcome:
    """Return the rows as `result.rows`, at most `maxRows` of them. Raises `Failure`."""
    spec = call.spec
    if wrong := statements.complaint("statement", spec.statement, statements.READING):
        raise Unusable(wrong)
    endpoint = await clients.connections.endpoint(call.namespace, spec.connection, call.service_account)
    with named(spec.connection):
        query = Query(endpoint, spec.statement, spec.params, spec.max_rows, call.timeout)
        found = await clients.queries.read(query)
    summary = f"{results.counted(len(found.rows))}{', more were cut' if found.truncated else ''}"
    return Succeeded({"rows": found.rows, "truncated": found.truncated}, summary)


ACTION = Action("sqlQuery", SqlQuery, Result, effect=Effect.READ, rights="get the Secret", checks=(_check,), read=read)
