"""sqlQuery: one SELECT in a read-only transaction. Effect: read.

What the database role may read is the boundary; the rest is a belt to those braces.
"""

from incident_operator.actions import results
from incident_operator.actions.clients import Clients
from incident_operator.api.actions import SqlQuery
from incident_operator.clients.connections import named
from incident_operator.clients.sql import Rows
from incident_operator.core.action import Action, Call
from incident_operator.core.effects import Effect
from incident_operator.core.errors import Unusable
from incident_operator.core.outcomes import Outcome, Succeeded
from incident_operator.core.runbooks import statements


async def read(call: Call[SqlQuery], clients: Clients) -> Outcome:
    """Return the rows as `result.rows`, at most `maxRows` of them. Raises `Failure`."""
    spec = call.spec
    if wrong := statements.complaint("statement", spec.statement, statements.READING):
        raise Unusable(wrong)
    endpoint = await clients.connections.endpoint(call.namespace, spec.connection, call.service_account)
    with named(spec.connection):
        async with clients.sessions.open(endpoint, call.timeout, read_only=True) as session:
            found = await session.read(spec.statement, spec.params, spec.max_rows)
    return _succeeded(found)


def _succeeded(found: Rows) -> Succeeded:
    rows, _ = results.fit(found.rows, results.RESULT_BYTES)
    truncated = found.truncated or len(rows) < len(found.rows)
    summary = f"{results.counted(len(rows))}{', more were cut' if truncated else ''}"
    return Succeeded({"rows": rows, "truncated": truncated}, summary)


ACTION = Action(
    "sqlQuery",
    SqlQuery,
    dict,
    effect=Effect.READ,
    rights="`get` of the Connection's Secret; the database role, `SELECT` of what is read",
    read=read,
)
