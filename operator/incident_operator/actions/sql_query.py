"""sqlQuery: one SELECT in a read-only transaction. Effect: read."""

from incident_operator.actions import endpoint_failures, sql_failures, sql_results, sql_text
from incident_operator.actions.protocol import Call, Preview
from incident_operator.api.actions import SqlQuery as Spec
from incident_operator.clients.connections import Connections, EndpointError
from incident_operator.clients.sql import Rows
from incident_operator.clients.sql_errors import SqlError
from incident_operator.clients.sql_sessions import Sessions
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Outcome, Succeeded


class SqlQuery:
    """Reads rows. What the database role may read is the boundary; the rest is a belt to those braces."""

    def __init__(self, connections: Connections, sessions: Sessions) -> None:
        self._connections = connections
        self._sessions = sessions

    async def run(self, call: Call) -> Outcome:
        """Return the rows as `result.rows`, at most `maxRows` of them."""
        spec = _spec(call)
        wrong = sql_text.complaint("statement", spec.statement, sql_text.READING)
        if wrong is not None:
            return Failed(reasons.BAD_REQUEST, wrong, retryable=False)
        try:
            found = await self._read(call, spec)
        except EndpointError as error:
            return endpoint_failures.failed(error)
        except SqlError as error:
            return sql_failures.failed(error, spec.connection)
        return _succeeded(found)

    async def preview(self, call: Call) -> Preview:
        """Show the statement; a read needs no trial."""
        spec = _spec(call)
        return Preview(spec.statement, {"connection": spec.connection, "params": spec.params, "maxRows": spec.max_rows})

    async def _read(self, call: Call, spec: Spec) -> Rows:
        endpoint = await self._connections.endpoint(call.namespace, spec.connection, call.service_account)
        async with self._sessions.open(endpoint, call.timeout, read_only=True) as session:
            return await session.read(spec.statement, spec.params, spec.max_rows)


def _spec(call: Call) -> Spec:
    if not isinstance(call.spec, Spec):
        raise TypeError(f"not a sqlQuery: {call.action}")
    return call.spec


def _succeeded(found: Rows) -> Succeeded:
    rows, _ = sql_results.fit(found.rows, sql_results.RESULT_BYTES)
    truncated = found.truncated or len(rows) < len(found.rows)
    summary = f"{sql_results.counted(len(rows))}{', more were cut' if truncated else ''}"
    return Succeeded({"rows": rows, "truncated": truncated}, summary)
