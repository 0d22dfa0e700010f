"""A trial: run, count, roll back; of nothing that a rollback does not take back, and then it says so.

What a statement calls is read from its text, and from the server's plan for what its views and policies call; the server's
catalog tells which of that is volatile. What stays unseen: triggers, defaults, operators and casts of one's own, and functions
that are declared stable and are not. For those a step says `trial: false`.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from incident_operator.actions import results
from incident_operator.actions.sql import meter
from incident_operator.actions.sql.meter import Change
from incident_operator.actions.sql.work import SqlStatement, Work, carry_out
from incident_operator.clients.sql import Session
from incident_operator.core.runbooks import statements

_CATALOG_LOCK_MS = 1000
"""Longest wait for a lock in a trial of what may lock tables exclusively: all others queue behind it."""
_PLAN_LINES = 10_000
_TRIED = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})
_HARMLESS = (
    *("random", "random_normal", "gen_random_uuid", "uuidv4", "uuidv7"),
    *("clock_timestamp", "timeofday", "pg_sleep", "currval", "lastval"),
    *("pg_advisory_xact_lock", "pg_try_advisory_xact_lock"),
)
"""Volatile functions of PostgreSQL itself that leave nothing behind."""
_LARGE_OBJECTS = ("lo_creat", "lo_create", "lo_from_bytea", "lo_put", "lo_unlink")
"""Those that change a catalog, which a rollback takes back."""

_VOLATILE = """SELECT proc.proname::pg_catalog.text AS name, pg_catalog.bool_and(language.lanpltrusted
    OR proc.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND proc.proname = ANY (%(large)s::pg_catalog.name[])) AS known
FROM pg_catalog.pg_proc AS proc JOIN pg_catalog.pg_language AS language ON language.oid = proc.prolang
WHERE proc.provolatile = 'v'
  AND (proc.proname = ANY (%(called)s::pg_catalog.name[]) OR proc.proname = ANY (%(attributes)s::pg_catalog.name[])
    AND EXISTS (SELECT FROM pg_catalog.pg_type AS type WHERE type.oid = proc.proargtypes[0] AND type.typtype IN ('c', 'p')))
  AND proc.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)
  AND NOT (proc.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND proc.proname = ANY (%(harmless)s::pg_catalog.name[]))
GROUP BY 1 ORDER BY 1"""
"""Volatile functions by name, whatever their schema and arguments: which of them is meant, only a run would tell."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What a plan says of a trial."""

    binds: str | None = None
    """What an approval binds, e.g. `1 row`, `up to 5 rows`, `not tried: …`."""
    counted: str | None = None
    """What was counted, where that is not what binds."""


async def tried(session: Session, work: Work) -> Tried:
    """Run the work in the session, which is to be rolled back, or say why not. Raises `SqlError`."""
    if not work.is_tried:
        return Tried("not tried: the step says trial: false")
    objection = await _objection(session, work)
    if objection:
        return Tried(f"not tried: {objection}")
    if work.catalog:
        await _wait_little(session)
    done = await carry_out(session, work)
    return _summary(done.applied.rows_changed, work, _unusual(done.change))


async def _objection(session: Session, work: Work) -> str:
    """Say why a rollback may not take the work back; empty where it does.

    What is not tried is planned at least, which shows a missing table or grant. A function may create what later statements
    need, so where it may change catalogs nothing is planned.
    """
    found = [objection async for objection in _by_text(session, work)]
    if not work.catalog:
        found += [objection async for objection in _by_plan(session, work)]
    return found[0] if found else ""


async def _by_text(session: Session, work: Work) -> AsyncIterator[str]:
    for where, item in work.parts:
        sent = statements.as_sent(item.statement)
        called, attributes = statements.called(sent), statements.attributes(sent)
        if statements.UNREADABLE in called | attributes:
            yield f"{where} writes a name or a text with escapes that are not read here; write it without"
        if volatile := await _volatile(session, called, attributes, catalog=work.catalog):
            yield f"{where} calls {meter.listed(volatile)}; a rollback may not take back what that does"
        elif item is not work.before and not _may_be_tried(item, work):
            yield f"{where} is a SELECT, which changes something only by what it calls"


def _may_be_tried(item: SqlStatement, work: Work) -> bool:
    return work.catalog or statements.verb(item.statement) in _TRIED


async def _by_plan(session: Session, work: Work) -> AsyncIterator[str]:
    for where, item in work.parts:
        if statements.verb(item.statement) == "SHOW":
            continue
        plan = await session.run(f"EXPLAIN (VERBOSE, COSTS OFF) {item.statement}", work.params(item), _PLAN_LINES)
        if plan.truncated:
            yield f"{where} has a plan of more than {_PLAN_LINES} lines, too many to read"
        called = statements.called("\n".join(row["QUERY PLAN"] for row in plan.rows))
        # the next value of a column's own sequence is lost by a rollback, as by any failed INSERT
        if volatile := await _volatile(session, called - {"nextval"}, frozenset(), catalog=False):
            yield f"{where} calls {meter.listed(volatile)} by a view or policy; a rollback may not take back what that does"


async def _volatile(
    session: Session, called: frozenset[str], attributes: frozenset[str], *, catalog: bool
) -> tuple[str, ...]:
    """Return the functions that stand in the way of a trial; where catalogs may change, one that rolls back does not."""
    if not called | attributes:
        return ()
    names = {"called": sorted(called), "attributes": sorted(attributes)}
    lists = {"harmless": list(_HARMLESS), "large": list(_LARGE_OBJECTS)}
    found = (await session.run(_VOLATILE, {**names, **lists}, len(called) + len(attributes))).rows
    if catalog and len(found) == 1 and found[0]["known"]:
        return ()
    return tuple(row["name"] for row in found)


async def _wait_little(session: Session) -> None:
    await session.run(
        """SELECT pg_catalog.set_config(name, %(most)s, true) FROM pg_catalog.pg_settings
        WHERE name = 'lock_timeout' AND setting::pg_catalog.int8 > %(most)s::pg_catalog.int8""",
        {"most": str(_CATALOG_LOCK_MS)},
    )


def _unusual(change: Change) -> str:
    """Say what changed besides rows; only a step that says `catalog: true` comes this far."""
    catalogs = f"; changes {meter.listed(change.catalogs, 20)}" if change.catalogs else ""
    tables = (
        f"; locks {meter.listed(change.exclusive)} exclusively, where rows are not counted" if change.exclusive else ""
    )
    return catalogs + tables


def _summary(rows: int, work: Work, unusual: str) -> Tried:
    count = results.counted(rows)
    if rows > work.max_rows:
        return Tried(f"{count}: more than maxRows {work.max_rows}, it would be rolled back")
    if work.binds_count:
        return Tried(count + unusual)
    return Tried(f"up to {results.counted(work.max_rows)}{unusual}", count)
