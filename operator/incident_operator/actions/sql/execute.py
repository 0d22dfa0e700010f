"""sqlExecute: changes data exactly once per step key, or not at all. Effect: sql-tx.

A marker row is inserted in the transaction of the change itself, so that the database, and not our memory, knows
whether it happened. From the claim of the marker until COMMIT is sent, every failure is a rollback.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict, TypeVar

from pydantic import ConfigDict, Field

from incident_operator.actions.clients import Clients
from incident_operator.actions.sql import claim, query, trial
from incident_operator.actions.sql.claim import MARKER, Applied, SqlStatement, Withdrawn, Work, carry_out
from incident_operator.actions.sql.trial import Tried
from incident_operator.api.meta import Model, ObjectName, rule, validations
from incident_operator.clients import sql as sql_sessions
from incident_operator.clients.connections import named
from incident_operator.clients.sql import Session
from incident_operator.clients.sql_errors import Fault, SqlError
from incident_operator.connections import Endpoint
from incident_operator.core import action, reasons, texts
from incident_operator.core.action import Action, Call, Connects, Params, Preview, Statement
from incident_operator.core.expressions.cel import Problem
from incident_operator.core.expressions.templates import Take
from incident_operator.core.outcomes import (
    Effect,
    Failed,
    Failure,
    NotDone,
    Outcome,
    RolledBack,
    Succeeded,
    Undetermined,
    Unusable,
)
from incident_operator.core.runbooks import draft, statements, untrusted
from incident_operator.core.runbooks.untrusted import Sql


class SqlExecute(Model):
    """Changes data in one transaction with a marker row (effect: sql-tx).

    `%(marker)s` is bound to the step key,
    in an undo to the key of the step being undone.
    """

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "has(self.statement) != (has(self.statements) && self.statements.size() > 0)",
                "either statement or statements is needed, and not both",
            ),
            rule(
                "has(self.statement) || !has(self.params)",
                "write params in each of statements, not beside them",
            ),
        )
    )

    connection: Annotated[ObjectName, Connects("postgres")]
    """A Connection of type postgres."""
    statement: Statement | None = None
    """A single statement; either this or `statements`."""
    params: Annotated[Params, Take.NATIVE] = Field(default_factory=dict)
    """Values for `%(name)s` in `statement`."""
    statements: Annotated[list[SqlStatement], Field(max_length=20)] = Field(default_factory=list)
    """Several statements, in order, in the one transaction."""
    before: SqlStatement | None = None
    """A query run first in the same transaction; its rows are the before-image."""
    max_rows: Annotated[int, Field(ge=0, le=1000000)]
    """Rows that all statements together may change, measured in the transaction; more rolls back."""
    rows_bind: Literal["exact", "upToMaxRows"] = "exact"
    """What an approval binds: the number of rows that the trial counted, or any number up to `maxRows`."""
    trial: bool = True
    """False where a rollback does not take everything back, e.g. a trigger that calls another system: then it is never tried."""
    catalog: bool = False
    """Whether system catalogs may change (roles, grants, definitions, large objects), which `maxRows` does not count.

    The plan names those that changed in the trial, which may then call one function that changes something.
    """


class Result(TypedDict):
    """What `result` holds."""

    rowsChanged: int
    before: list[dict[str, Any]]
    returning: list[dict[str, Any]]
    truncated: bool


def _check(spec: SqlExecute, path: str) -> Iterator[Problem]:
    yield from draft.one_of(path, {"statement": spec.statement, "statements": spec.statements or None})
    for sql in _texts(spec, path):
        yield from untrusted.sql(sql)


def _texts(spec: SqlExecute, path: str) -> Iterator[Sql]:
    if spec.statement is not None:
        yield Sql(f"{path}.statement", spec.statement, statements.CHANGING, spec.params)
    for index, each in enumerate(spec.statements):
        yield Sql(f"{path}.statements[{index}].statement", each.statement, statements.CHANGING, each.params)
    if spec.before is not None:
        yield Sql(f"{path}.before.statement", spec.before.statement, statements.READING, spec.before.params)


_SHORT = 400
"""Characters of statements that are told in the line which says what is done."""
_SHOWN_ROWS, _SHOWN_BYTES = 3, 1024
"""Rows, and their bytes as JSON, of a before-image and of RETURNING that the Incident itself tells."""
_PAUSES = (0.05, 0.2, 0.5, 1.0)
"""Seconds before each further try of a transaction that met another one, so that whoever was in the way can finish."""
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Thing:
    """What is sent, and where."""

    endpoint: Endpoint
    work: Work


async def show(call: Call[SqlExecute], clients: Clients, wants_trial: bool) -> Preview:  # the interface of every action
    """Return the statements and where they go; a trial runs what a rollback takes back, counts, and rolls back. Raises `Failure`."""
    work = _work(call)
    endpoint = await _endpoint(call, clients)
    place, details = _place(call, endpoint), _details(call, work)
    _refuse_undo_elsewhere(call, place)
    tried = await _trial(call, Thing(endpoint, work), clients) if wants_trial else Tried()
    return Preview(
        _do(call, work),
        {**details, **place, **_readable(details)},
        tried.binds,
        tried.counted,
        trial.REMEDY if work.binds_count else "",
        thing=Thing(endpoint, work),
        bound={**details, **place},
        seen=place,
    )


async def act(call: Call[SqlExecute], preview: Preview, clients: Clients) -> Outcome:
    """Claim the marker, carry out, store and commit in one transaction; or tell what its marker says. Raises `Failure`."""
    thing: Thing = preview.thing

    async def attempt(seconds: float) -> Outcome:
        async with _opened(call, thing.endpoint, clients, seconds) as session:
            if not await claim.claim(session, call):
                return _not_ours(await claim.find(session, call.key))
            carried_out = await carry_out(session, thing.work)
            applied = carried_out.applied
            if applied.rows_changed > thing.work.max_rows:
                return _too_many(applied.rows_changed, thing.work.max_rows)
            if moved := trial.difference(preview.in_trial, thing.work, carried_out):
                return NotDone(0.0, moved)
            await claim.store(session, call.key, applied)
            await query.refuse_more(session, carried_out.change.end)
            done = _told(applied, _place(call, thing.endpoint))  # made before: after the commit nothing may fail
            await session.commit()
            return done

    return await _past_conflicts(attempt, call.timeout)


async def look(call: Call[SqlExecute], clients: Clients) -> Outcome:
    """Return what the marker says; where there is none, a tombstone takes its place. Raises `Failure`."""
    endpoint = await _endpoint(call, clients)
    place = _place(call, endpoint)
    begun = {name: (call.seen or {}).get(name, here) for name, here in place.items()}
    if begun != place:
        told = f"it leads to {_named(place)} now; the step started at {_named(begun)}, where its marker is"
        raise Failure(reasons.CHANGED_SINCE, f"{call.spec.connection}: {told}")
    async with _opened(call, endpoint, clients, call.timeout) as session:
        return _told(await claim.find_or_withdraw(session, call), place)


async def _endpoint(call: Call[SqlExecute], clients: Clients) -> Endpoint:
    return await clients.connections.endpoint(call.namespace, call.spec.connection, call.service_account)


@asynccontextmanager
async def _opened(
    call: Call[SqlExecute], endpoint: Endpoint, clients: Clients, seconds: float
) -> AsyncIterator[Session]:
    with named(call.spec.connection):
        async with clients.sessions.open(endpoint, seconds, read_only=False) as session:
            yield session


async def _trial(call: Call[SqlExecute], thing: Thing, clients: Clients) -> Tried:
    async def attempt(seconds: float) -> Tried:
        async with _opened(call, thing.endpoint, clients, seconds) as session:
            # the marker goes in too: a missing table or grant shows before a person is asked
            if await claim.claim(session, call):
                return await trial.tried(session, thing.work)
            found = await claim.find(session, call.key)
        if isinstance(found, Withdrawn):
            return Tried("withdrawn, it would do nothing")
        raise RolledBack(_found(found))

    return await _past_conflicts(attempt, call.timeout)


async def _past_conflicts(attempt: Callable[[float], Awaitable[_Result]], seconds: float) -> _Result:
    """Run an attempt, which is told how many seconds are left, again while another transaction is in its way.

    Both are not to blame, and one is rolled back for certain: PostgreSQL leaves it to its clients to try again.
    """
    now = asyncio.get_running_loop().time
    ends_at = now() + seconds
    for pause in _PAUSES:
        try:
            return await attempt(ends_at - now())
        except SqlError as error:
            if error.fault is not Fault.CONFLICT or error.maybe_applied or now() + pause >= ends_at:
                raise
        await asyncio.sleep(pause)
    return await attempt(ends_at - now())


def _work(call: Call[SqlExecute]) -> Work:
    """Return what the call asks for. Raises `Unusable`."""
    spec = call.spec
    if (spec.statement is None) == (not spec.statements):
        raise Unusable("either statement or statements has to be given, and not both")
    single = [] if spec.statement is None else [SqlStatement(statement=spec.statement, params=spec.params)]
    key = call.undo_of.key if call.undo_of is not None else call.key
    all_of_them = (*single, *spec.statements)
    binds_count = spec.rows_bind == "exact"
    work = Work(all_of_them, spec.before, spec.max_rows, key, spec.catalog, spec.trial, binds_count)
    for complaint in _complaints(work):
        raise Unusable(complaint)
    return work


def _complaints(work: Work) -> Iterator[str]:
    for where, item in work.parts:
        allowed = statements.READING if item is work.before else statements.CHANGING
        if wrong := statements.complaint(where, item.statement, allowed):
            yield wrong
        if MARKER in item.params:
            yield f"{where}: params.{MARKER} is taken: %({MARKER})s is bound to the step key; choose another name"


def _place(call: Call[SqlExecute], endpoint: Endpoint) -> dict[str, Any]:
    with named(call.spec.connection):
        where = sql_sessions.postgres(endpoint)
    return {"host": where.host, "port": where.port, "database": where.database}


def _named(place: Mapping[str, Any]) -> str:
    return f"{place['host']}:{place['port']}/{place['database']}"


def _details(call: Call[SqlExecute], work: Work) -> dict[str, Any]:
    spec = call.spec
    details: dict[str, Any] = {
        "connection": spec.connection,
        "maxRows": work.max_rows,
        "statements": [item.to_json() for item in work.statements],
    }
    unusual = {"rowsBind": spec.rows_bind != "exact", "trial": not spec.trial, "catalog": spec.catalog}
    details |= {name: value for name, value in spec.to_json().items() if unusual.get(name)}
    return details if work.before is None else {**details, "before": work.before.to_json()}


def _do(call: Call[SqlExecute], work: Work) -> str:
    """Return what is done on one line: the statements where they are short, else how many there are."""
    text = "; ".join(item.statement for item in work.statements)
    if len(text) <= _SHORT and "\n" not in text:
        return text
    count = texts.counted(len(work.statements), "statement")
    return f"run {count} by {call.spec.connection}, shown with values under statements"


def _readable(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statements for a plan: those of several lines as a list of lines, for each value is shown on one."""

    def lines(item: Mapping[str, Any]) -> dict[str, Any]:
        text = item["statement"]
        return {**item, "statement": text.split("\n") if "\n" in text else text}

    shown: dict[str, Any] = {"statements": [lines(item) for item in details["statements"]]}
    return {**shown, "before": lines(details["before"])} if "before" in details else shown


def _refuse_undo_elsewhere(call: Call[SqlExecute], place: Mapping[str, Any]) -> None:
    """Raise a `Failure` where the Connection leads to another database than the one that was changed."""
    captured = call.undo_of.captured if call.undo_of is not None else {}
    changed = {name: captured.get(name, here) for name, here in place.items()}
    if changed != place:
        told = f"it leads to {_named(place)} now; what is to be undone was done at {_named(changed)}; left alone"
        raise Failure(reasons.CHANGED_SINCE, f"{call.spec.connection}: {told}")


def _not_ours(found: Applied | Withdrawn) -> NotDone | Undetermined:
    """Tell what a marker means that was there before an act: a look's, or that of an earlier life or of who knows the key."""
    if isinstance(found, Withdrawn):
        return _WITHDRAWN
    return Undetermined(_found(found), reasons.RECORD_ROLLED_BACK)


def _found(found: Applied) -> str:
    """Tell of a row that has the key of an attempt which the status says was never begun."""
    at = f" at {found.at}" if found.at is not None else ""
    told = f"it says done{at}, {action.counted(found.rows_changed)} changed"
    return f"a row of {claim.TABLE} has the key of this step, which has not written it; {told}"


_WITHDRAWN = NotDone(0.0, "it had not happened when it was checked; nothing sent under its key can still do it")


def _told(found: Applied | Withdrawn, place: Mapping[str, Any]) -> Succeeded | NotDone:
    if isinstance(found, Withdrawn):
        return _WITHDRAWN
    before, left = action.fit(found.before, action.RESULT_BYTES)
    returning, _ = action.fit(found.returning, left)
    truncated = found.partial or len(before) + len(returning) < len(found.before) + len(found.returning)
    result = {"rowsChanged": found.rows_changed, "before": before, "returning": returning, "truncated": truncated}
    count = f"{action.counted(found.rows_changed)} changed"
    summary = count if found.at is None else f"{count} (already applied at {found.at})"
    return Succeeded(result, summary, captured={"rowsChanged": found.rows_changed, **_shown(found), **place})


def _shown(found: Applied) -> dict[str, Any]:
    """Return the first rows before and after, as far as they are short: for people, the whole of them is evidence."""
    images = {"was": found.before, "became": found.returning}
    return {name: fit for name, rows in images.items() if (fit := action.fit(rows[:_SHOWN_ROWS], _SHOWN_BYTES)[0])}


def _too_many(rows: int, most: int) -> Failed:
    message = f"would change {action.counted(rows)}, maxRows is {most}; rolled back"
    return Failed(reasons.ROW_LIMIT_EXCEEDED, message, retryable=False)


ACTION = Action(
    "sqlExecute",
    SqlExecute,
    Result,
    effect=Effect.SQL_TX,
    rights="get the Secret",
    checks=(_check,),
    show=show,
    act=act,
    look=look,
)
