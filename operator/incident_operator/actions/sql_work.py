"""What a sqlExecute step is to do, and doing it inside a transaction that somebody else opens and ends."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from incident_operator.actions import sql_meter, sql_results, sql_text
from incident_operator.actions.protocol import Call
from incident_operator.actions.sql_effects import Applied
from incident_operator.api.actions import SqlExecute, SqlStatement
from incident_operator.clients.sql import Row, Rows, Session
from incident_operator.clients.sql_errors import Fault, SqlError

MARKER = "marker"
IMAGE_ROWS = 10_000
"""Rows of a before-image, or of all RETURNING together; they are stored whole in the marker."""
IMAGE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Work:
    """The statements of one effect, in order, and their limit."""

    connection: str
    statements: tuple[SqlStatement, ...]
    before: SqlStatement | None
    max_rows: int
    marker: str
    """Bound as `%(marker)s`: the own step key, or in an undo that of the effect which is taken back."""


class WorkError(Exception):
    """The step cannot be what its author meant; nothing was sent."""


def of(call: Call) -> Work:
    """Return what the call asks for. Raises `WorkError`."""
    if not isinstance(call.spec, SqlExecute):
        raise TypeError(f"not a sqlExecute: {call.action}")
    spec = call.spec
    marker = call.undo_of.key if call.undo_of is not None else call.key
    work = Work(spec.connection, _statements(spec), spec.before, spec.max_rows, marker)
    for complaint in _complaints(work):
        raise WorkError(complaint)
    return work


def _statements(spec: SqlExecute) -> tuple[SqlStatement, ...]:
    if (spec.statement is None) == (not spec.statements):
        raise WorkError("either statement or statements has to be given, and not both")
    if spec.statement is None:
        return tuple(spec.statements)
    return (SqlStatement(statement=spec.statement, params=spec.params),)


def _complaints(work: Work) -> Iterator[str]:
    for number, item in enumerate(work.statements):
        where = "statement" if len(work.statements) == 1 else f"statements[{number}]"
        yield from _complaint(where, item, sql_text.CHANGING)
    if work.before is not None:
        yield from _complaint("before", work.before, sql_text.READING)


def _complaint(where: str, item: SqlStatement, allowed: frozenset[str]) -> Iterator[str]:
    wrong = sql_text.complaint(where, item.statement, allowed)
    if wrong is not None:
        yield wrong
    if MARKER in item.params:
        yield f"{where}: params.{MARKER} is taken: %({MARKER})s is bound to the step key"


async def carry_out(session: Session, work: Work) -> Applied:
    """Run the statements in the session's transaction and measure what they changed. Raises `SqlError`."""
    start = await sql_meter.changed(session)
    before = await _before(session, work)
    done = [await session.run(item.statement, _params(item, work), IMAGE_ROWS) for item in work.statements]
    await sql_meter.settle(session)
    await sql_meter.refuse_exclusive_locks(session)
    measured = await sql_meter.changed(session) - start
    # a foreign table has no statistics here, so what the server says it changed counts too
    told = sum(rows.affected for rows in done)
    return Applied(max(measured, told), before, _returned(done))


async def _before(session: Session, work: Work) -> list[Row]:
    if work.before is None:
        return []
    found = await session.read(work.before.statement, _params(work.before, work), IMAGE_ROWS)
    return _whole("before", found.rows, truncated=found.truncated)


def _returned(done: list[Rows]) -> list[Row]:
    rows = [row for part in done for row in part.rows]
    truncated = len(rows) > IMAGE_ROWS or any(part.truncated for part in done)
    return _whole("RETURNING", rows, truncated=truncated)


def _whole(what: str, rows: list[Row], *, truncated: bool) -> list[Row]:
    # an image that is cut is no image: an undo would miss what is not in it
    if truncated or sql_results.size(rows) > IMAGE_BYTES:
        most = f"{IMAGE_ROWS} rows or {IMAGE_BYTES // 1024 // 1024} MiB"
        raise SqlError(Fault.STATEMENT, f"{what} gives more than {most}, too much to store; select less")
    return rows


def _params(item: SqlStatement, work: Work) -> Mapping[str, Any]:
    return {**item.params, MARKER: work.marker}
