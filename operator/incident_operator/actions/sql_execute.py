"""sqlExecute: changes data exactly once per step key, or not at all. Effect: sql-tx.

A marker row is inserted in the transaction of the change itself, so that the database, and not our memory, knows
whether it happened. `Failed` is said only where the transaction certainly did not commit.
"""

from incident_operator.actions import endpoint_failures, sql_conflicts, sql_effects, sql_failures, sql_results, sql_work
from incident_operator.actions.protocol import Call, Preview, PreviewError
from incident_operator.actions.sql_conflicts import RolledBack
from incident_operator.actions.sql_effects import Applied
from incident_operator.actions.sql_work import Work, WorkError
from incident_operator.clients.connections import Connections, Endpoint, EndpointError
from incident_operator.clients.sql import Session
from incident_operator.clients.sql_errors import Fault, SqlError
from incident_operator.clients.sql_sessions import Sessions
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Outcome, Pending, Succeeded

LOOK_AGAIN_SECONDS = 2.0
_PASSING = frozenset({Fault.UNREACHABLE, Fault.TIMED_OUT, Fault.LOCKED, Fault.CONFLICT, Fault.READ_ONLY})
"""Faults that keep the marker from being looked up just now."""


class SqlExecute:
    """Changes rows, under a limit that is measured in the transaction, with before-image and marker."""

    def __init__(self, connections: Connections, sessions: Sessions) -> None:
        self._connections = connections
        self._sessions = sessions

    async def run(self, call: Call) -> Outcome:
        """Apply the statements, or find that they were applied under this key."""
        try:
            work = sql_work.of(call)
            endpoint = await self._endpoint(call, work)

            async def attempt(seconds: float) -> Outcome:
                async with self._sessions.open(endpoint, seconds, read_only=False) as session:
                    if await _claim(session, call, endpoint):
                        return await _apply(session, call, work)
                    return await _recall(session, call)

            return await sql_conflicts.through(attempt, call.timeout)
        except WorkError as error:
            return Failed(reasons.BAD_REQUEST, str(error), retryable=False)
        except EndpointError as error:
            return _unopened(error, work)
        except RolledBack as error:
            return sql_failures.failed(error, work.connection)
        except SqlError as error:
            return _unclaimed(error, work)

    async def preview(self, call: Call) -> Preview:
        """Run everything, count, and roll back. Raises `PreviewError`."""
        try:
            work = sql_work.of(call)
            in_trial = await self._trial(call, work)
        except (WorkError, EndpointError, SqlError) as error:
            raise PreviewError(f"{call.step}: {error}") from None
        return Preview(";\n".join(item.statement for item in work.statements), _details(work), in_trial)

    async def _trial(self, call: Call, work: Work) -> str:
        endpoint = await self._endpoint(call, work)

        async def attempt(seconds: float) -> str:
            async with self._sessions.open(endpoint, seconds, read_only=False) as session:
                # the marker goes in too: a missing table or grant shows before a person is asked
                if not await _claim(session, call, endpoint):
                    return "already applied"
                applied = await sql_work.carry_out(session, work)
            return _trial_text(applied.rows_changed, work.max_rows)

        return await sql_conflicts.through(attempt, call.timeout)

    async def _endpoint(self, call: Call, work: Work) -> Endpoint:
        return await self._connections.endpoint(call.namespace, work.connection, call.service_account)


async def _claim(session: Session, call: Call, endpoint: Endpoint) -> bool:
    try:
        return await sql_effects.claim(session, call.key, f"{call.namespace}/{call.incident}", call.step)
    except SqlError as error:
        raise sql_effects.explain_missing(error, endpoint.secret["username"]) from None


async def _recall(session: Session, call: Call) -> Outcome:
    applied = await sql_effects.find(session, call.key)
    if applied is None:
        return Pending(LOOK_AGAIN_SECONDS, "the marker of this step vanished while it was read; looking again")
    return _succeeded(applied)


async def _apply(session: Session, call: Call, work: Work) -> Outcome:
    """From the claim until COMMIT is sent, every failure is a rollback."""
    try:
        applied = await sql_work.carry_out(session, work)
        if applied.rows_changed > work.max_rows:
            return _too_many(applied, work)
        await sql_effects.store(session, call.key, applied)
    except SqlError as error:
        return _rolled_back(error, work)
    return await _commit(session, applied, work)


async def _commit(session: Session, applied: Applied, work: Work) -> Outcome:
    try:
        await session.commit()
    except SqlError as error:
        if session.lost:
            return Pending(LOOK_AGAIN_SECONDS, f"{work.connection}: connection lost at COMMIT; looking for the marker")
        return _rolled_back(error, work)
    return _succeeded(applied)


def _rolled_back(error: SqlError, work: Work) -> Failed:
    """Return the failure. Raises `RolledBack` where the same again may work at once."""
    if error.fault is Fault.CONFLICT:
        raise RolledBack(error.fault, error.message) from None
    return sql_failures.failed(error, work.connection)


def _unopened(error: EndpointError, work: Work) -> Outcome:
    if endpoint_failures.passing(error):
        return Pending(LOOK_AGAIN_SECONDS, f"{work.connection}: {error.message}; trying again")
    return endpoint_failures.failed(error)


def _unclaimed(error: SqlError, work: Work) -> Outcome:
    # an earlier run under this key may have committed: what keeps us from looking is no failure
    if error.fault in _PASSING:
        return Pending(LOOK_AGAIN_SECONDS, f"{work.connection}: {error.message}; trying again")
    return sql_failures.failed(error, work.connection)


def _too_many(applied: Applied, work: Work) -> Failed:
    count = sql_results.counted(applied.rows_changed)
    message = f"would change {count}, maxRows is {work.max_rows}; rolled back"
    return Failed(reasons.ROW_LIMIT_EXCEEDED, message, retryable=False)


def _succeeded(applied: Applied) -> Succeeded:
    before, left = sql_results.fit(applied.before, sql_results.RESULT_BYTES)
    returning, _ = sql_results.fit(applied.returning, left)
    truncated = applied.partial or len(before) + len(returning) < len(applied.before) + len(applied.returning)
    result = {"rowsChanged": applied.rows_changed, "before": before, "returning": returning, "truncated": truncated}
    count = f"{sql_results.counted(applied.rows_changed)} changed"
    summary = count if applied.at is None else f"{count} (already applied at {applied.at})"
    return Succeeded(result, summary, captured={"rowsChanged": applied.rows_changed})


def _trial_text(rows: int, most: int) -> str:
    count = sql_results.counted(rows)
    return count if rows <= most else f"{count}: more than maxRows {most}, it would be rolled back"


def _details(work: Work) -> dict[str, object]:
    details: dict[str, object] = {
        "connection": work.connection,
        "maxRows": work.max_rows,
        "statements": [item.to_json() for item in work.statements],
    }
    return details if work.before is None else {**details, "before": work.before.to_json()}
