"""`sqlQuery`: one SELECT in a read-only transaction (effect: read).

What the database role may read is the boundary; the rest is a belt to those braces. What a transaction has changed so far is measured,
whatever did it: cascades, triggers, functions, views. The command tag of a statement counts only its own target; PostgreSQL's
per-transaction statistics count every table that was touched, the system catalogs too: large objects, roles, grants and DDL show there.
TRUNCATE and DDL also give themselves away by the lock they take. What no statistics show: a sequence that was set.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from pydantic import Field

from incident_operator.actions.clients import Clients
from incident_operator.api.meta import Model, ObjectName
from incident_operator.clients.connections import named
from incident_operator.clients.queries import Query
from incident_operator.clients.sql import Session
from incident_operator.clients.sql_errors import Fault, SqlError
from incident_operator.core import action
from incident_operator.core.action import Action, Call, Connects, Params, Statement
from incident_operator.core.expressions.cel import Problem
from incident_operator.core.expressions.templates import Take
from incident_operator.core.outcomes import Effect, Outcome, Succeeded, Unusable
from incident_operator.core.runbooks import statements, untrusted
from incident_operator.core.runbooks.untrusted import Sql

_COUNTS = """SELECT pg_catalog.current_setting('track_counts') AS counting,
  COALESCE(pg_catalog.sum(changes) FILTER (WHERE NOT system), 0)::pg_catalog.int8 AS rows,
  pg_catalog.jsonb_object_agg(relname, changes) FILTER (WHERE system AND changes > 0) AS catalogs,
  EXISTS (SELECT FROM pg_catalog.pg_cursors
    WHERE is_holdable AND creation_time >= pg_catalog.transaction_timestamp()) AS holds_cursor
FROM (SELECT relname, n_tup_ins + n_tup_upd + n_tup_del AS changes,
    schemaname IN ('pg_catalog', 'information_schema') AS system
  FROM pg_catalog.pg_stat_xact_all_tables WHERE schemaname !~ '^pg_toast') AS counted"""

_EXCLUSIVE = """SELECT DISTINCT COALESCE(class.oid::pg_catalog.regclass::pg_catalog.text, 'a table that it drops') AS relation
FROM pg_catalog.pg_locks AS held LEFT JOIN pg_catalog.pg_class AS class ON class.oid = held.relation
WHERE held.pid = pg_catalog.pg_backend_pid() AND held.locktype = 'relation' AND held.mode = 'AccessExclusiveLock'
  AND class.relpersistence IS DISTINCT FROM 't' AND (class.relkind IS NULL OR class.relkind NOT IN ('i', 'I', 't'))
ORDER BY 1"""
_TABLES = 100
"""How many exclusively locked tables are named at most."""
_ROUNDS = 20
"""How often what is deferred may set off more that is deferred."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the server has counted in this transaction until now."""

    rows: int
    """Inserted, updated and deleted in ordinary tables, the markers' too. A row that moves between partitions counts twice."""
    catalogs: Mapping[str, int]
    """The same in system catalogs."""


@dataclass(frozen=True, slots=True)
class Change:
    """What statements changed."""

    rows: int
    catalogs: tuple[str, ...]
    """System catalogs in which something changed, e.g. `pg_authid`."""
    exclusive: tuple[str, ...]
    """Tables that are locked as only TRUNCATE and DDL do; temporary ones are left out."""
    end: Counts
    """What was counted when nothing was deferred any more."""


async def counts(session: Session) -> Counts:
    """Return what is counted now. Raises `SqlError`, also where the server does not count or will go on at the commit."""
    found = (await session.run(_COUNTS, {})).rows[0]
    if found["counting"] != "on":
        raise SqlError(Fault.STATEMENT, "cannot measure changes: track_counts is off on this server; it has to be on")
    if found["holds_cursor"]:
        told = "opened a cursor WITH HOLD, whose changes at the commit would not be counted; open it WITHOUT HOLD"
        raise SqlError(Fault.STATEMENT, told)
    return Counts(int(found["rows"]), found["catalogs"] or {})


async def settled(session: Session, start: Counts) -> Change:
    """Run what is deferred to the commit now, and return all that changed since the start. Raises `SqlError`.

    So the changes of deferred triggers are measured, and their refusals are certain.
    """
    end = await _settle(session, await counts(session))
    exclusive = tuple(row["relation"] for row in (await session.run(_EXCLUSIVE, {}, _TABLES)).rows)
    return Change(end.rows - start.rows, _grown(start.catalogs, end.catalogs), exclusive, end)


async def _settle(session: Session, before: Counts) -> Counts:
    """Repeat until nothing changes: a deferred trigger may defer constraints anew, and set off others by what it changes."""
    for _ in range(_ROUNDS):
        await session.run("SET CONSTRAINTS ALL IMMEDIATE", {})
        now = await counts(session)
        if now.rows == before.rows:
            return now
        before = now
    told = f"deferred triggers set off one another more than {_ROUNDS} times; change them so that they end"
    raise SqlError(Fault.STATEMENT, told)


async def refuse_more(session: Session, measured: Counts) -> None:
    """Raise `SqlError` where more changed than was measured, but for the marker; nothing deferred is left for the commit."""
    end = await _settle(session, measured)
    if end.rows > measured.rows + 1 or _grown(measured.catalogs, end.catalogs):
        told = "a trigger changes more rows when the marker is stored; rolled back. The marker's table must not have triggers"
        raise SqlError(Fault.STATEMENT, told)


def refuse_uncounted(change: Change) -> None:
    """Raise `SqlError` where something changed that is not counted in rows."""
    if change.exclusive:
        told = f"locked {change.exclusive[0]} exclusively, as TRUNCATE and DDL do: their rows cannot be counted"
    elif change.catalogs:
        told = f"changed {listed(change.catalogs)}: what system catalogs hold (roles, grants, definitions, large objects) is not counted by maxRows"
    else:
        return
    raise SqlError(Fault.STATEMENT, f"{told}; rolled back. If this is intended, set catalog: true on the step")


def listed(names: tuple[str, ...], most: int = 6) -> str:
    """Return names for people, the first few of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _grown(start: Mapping[str, Any], end: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(name for name, count in end.items() if count > start.get(name, 0)))


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
    yield from untrusted.sql(Sql(f"{path}.statement", spec.statement, statements.READING, spec.params, marked=False))


async def read(call: Call[SqlQuery], clients: Clients) -> Outcome:
    """Return the rows as `result.rows`, at most `maxRows` of them. Raises `Failure`."""
    spec = call.spec
    if wrong := statements.complaint("statement", spec.statement, statements.READING):
        raise Unusable(wrong)
    endpoint = await clients.connections.endpoint(call.namespace, spec.connection, call.service_account)
    with named(spec.connection):
        query = Query(endpoint, spec.statement, spec.params, spec.max_rows, call.timeout)
        found = await clients.queries.read(query)
    summary = f"{action.counted(len(found.rows))}{', more were cut' if found.truncated else ''}"
    return Succeeded({"rows": found.rows, "truncated": found.truncated}, summary)


ACTION = Action("sqlQuery", SqlQuery, Result, effect=Effect.READ, rights="get the Secret", checks=(_check,), read=read)
