"""A trial: run, count, roll back; of nothing that a rollback does not take back, and then it says so.

What a statement calls is read from its text, from the views, rules, policies, constraints and defaults that it meets, and from
the server's plan; the server's catalog tells which of that is volatile. What stays unseen: triggers, operators and casts of one's
own, functions that are declared stable and are not, and other servers. For those a step says `trial: false`.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from incident_operator.actions.sql import query
from incident_operator.actions.sql.claim import Done, SqlStatement, Work, carry_out
from incident_operator.actions.sql.query import Change
from incident_operator.clients.sql import Session
from incident_operator.core import action
from incident_operator.core.runbooks import statements

_CATALOG_LOCK_MS = 1000
"""Longest wait for a lock in a trial of what may lock tables exclusively: all others queue behind it."""
_TEXTS = 10_000
"""How many texts of a plan, and how many definitions, are read at most."""
_UNTRIED = "not tried: "
_TRIED = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})
_HARMLESS = (
    *("random", "random_normal", "gen_random_uuid", "uuidv4", "uuidv7"),
    *("clock_timestamp", "timeofday", "pg_sleep", "currval", "lastval"),
    *("pg_advisory_xact_lock", "pg_try_advisory_xact_lock"),
    *("pg_advisory_xact_lock_shared", "pg_try_advisory_xact_lock_shared"),
    *("pg_blocking_pids", "pg_lock_status", "pg_is_in_recovery", "pg_current_wal_lsn"),
    *("pg_database_size", "pg_relation_size", "pg_table_size", "pg_indexes_size", "pg_total_relation_size"),
)
"""Volatile functions of PostgreSQL itself that leave nothing behind."""
_LARGE_OBJECTS = ("lo_creat", "lo_create", "lo_from_bytea", "lo_put", "lo_unlink")
"""Those that change a catalog, which a rollback takes back."""
_RUNNING = (
    *("table_to_xml", "table_to_xml_and_xmlschema", "schema_to_xml", "schema_to_xml_and_xmlschema"),
    *("database_to_xml", "database_to_xml_and_xmlschema"),
    *("crosstab", "crosstab2", "crosstab3", "crosstab4", "connectby", "xpath_table"),
)
"""Functions that come with PostgreSQL and are declared stable, and run a query which nobody sees here."""

_VOLATILE = """SELECT proc.proname::pg_catalog.text AS name, pg_catalog.bool_and(language.lanpltrusted
    OR proc.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND proc.proname = ANY (%(large)s::pg_catalog.name[])) AS known
FROM pg_catalog.pg_proc AS proc JOIN pg_catalog.pg_language AS language ON language.oid = proc.prolang
WHERE (proc.provolatile = 'v' OR proc.proname = ANY (%(running)s::pg_catalog.name[]) OR EXISTS (
    SELECT FROM pg_catalog.pg_aggregate AS aggregate JOIN pg_catalog.pg_proc AS part ON part.provolatile = 'v'
      AND part.oid IN (aggtransfn, aggfinalfn, aggcombinefn, aggmtransfn, aggminvtransfn, aggmfinalfn)
    WHERE aggregate.aggfnoid = proc.oid))
  AND (proc.proname = ANY (%(called)s::pg_catalog.name[]) OR proc.proname = ANY (%(attributes)s::pg_catalog.name[])
    AND EXISTS (SELECT FROM pg_catalog.pg_type AS type WHERE type.oid = proc.proargtypes[0] AND type.typtype IN ('c', 'p')))
  AND proc.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)
  AND NOT (proc.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND proc.proname = ANY (%(harmless)s::pg_catalog.name[]))
GROUP BY 1 ORDER BY 1"""
"""Volatile functions by name, whatever their schema and arguments: which of them is meant, only a run would tell.

An aggregate is as volatile as the functions that it is made of; PostgreSQL calls it immutable.
"""
_DEFINITIONS = """WITH met AS (SELECT class.oid, class.relrowsecurity AS guarded,
      pg_catalog.bool_or(held.mode = 'RowExclusiveLock') AS written
    FROM pg_catalog.pg_locks AS held JOIN pg_catalog.pg_class AS class ON class.oid = held.relation
    WHERE held.pid = pg_catalog.pg_backend_pid() AND held.locktype = 'relation' AND class.relkind <> 'm'
      AND class.relnamespace NOT IN ('pg_catalog'::pg_catalog.regnamespace, 'information_schema'::pg_catalog.regnamespace)
    GROUP BY 1, 2)
SELECT pg_catalog.pg_get_ruledef(rule.oid) AS text, false AS is_default
FROM met JOIN pg_catalog.pg_rewrite AS rule ON rule.ev_class = met.oid
UNION ALL SELECT pg_catalog.concat_ws(' ', pg_catalog.pg_get_expr(polqual, polrelid), pg_catalog.pg_get_expr(polwithcheck, polrelid)), false
FROM met JOIN pg_catalog.pg_policy ON polrelid = met.oid WHERE guarded
UNION ALL SELECT pg_catalog.pg_get_constraintdef(oid), false FROM pg_catalog.pg_constraint WHERE contype = 'c' AND (
  conrelid IN (SELECT oid FROM met WHERE written) OR contypid <> 0 AND contypid IN (
    SELECT atttypid FROM met JOIN pg_catalog.pg_attribute ON attrelid = met.oid WHERE written))
UNION ALL SELECT pg_catalog.pg_get_expr(adbin, adrelid), true
FROM met JOIN pg_catalog.pg_attrdef ON adrelid = met.oid WHERE written AND %(defaults)s"""
"""Of all that the transaction met or may write: what is planned is locked. A plan does not show all that these call."""


REMEDY = "to approve any number up to maxRows, set rowsBind: upToMaxRows on the step"
"""Told where the number of rows voids an approval again and again, as of a table that changes each second."""


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
        return Tried(f"{_UNTRIED}the step says trial: false")

    async def check(where: str, item: SqlStatement) -> None:
        if objection := await _by_plan(session, work, where, item):
            raise _Untried(objection)

    try:
        await _check_texts(session, work)
        if work.catalog:
            await _wait_little(session)
        done = await carry_out(session, work, check)
    except _Untried as untried:
        return Tried(f"{_UNTRIED}{untried}")
    return _summary(done.applied.rows_changed, work, _unusual(done.change))


def difference(in_trial: str | None, work: Work, done: Done) -> str:
    """Say how what was done differs from what the trial before it did, where there was one that binds; empty where it does not."""
    now = _summary(done.applied.rows_changed, work, _unusual(done.change)).binds
    if in_trial is None or in_trial.startswith(_UNTRIED) or in_trial == now:
        return ""
    moved = f"would have been {now}, in trial it was {in_trial}; rolled back"
    return f"{moved} ({REMEDY})" if work.binds_count else moved


class _Untried(Exception):
    """Why a rollback may not take the work back."""


async def _check_texts(session: Session, work: Work) -> None:
    """Raise `_Untried` for what the texts themselves show.

    What is not tried is planned at least, which shows a missing table or grant. A function may create what later statements
    need, so where it may change catalogs nothing is planned.
    """
    found = [objection async for objection in _by_text(session, work)]
    if found and not work.catalog:
        for where, item in work.parts:
            await _by_plan(session, work, where, item)
    if found:
        raise _Untried(found[0])


async def _by_text(session: Session, work: Work) -> AsyncIterator[str]:
    for where, item in work.parts:
        sent = statements.as_sent(item.statement)
        called, attributes = statements.called(sent), statements.attributes(sent)
        if statements.UNREADABLE in called | attributes:
            yield f"{where} {statements.ESCAPES}"
        if volatile := await _volatile(session, called, attributes, catalog=work.catalog):
            yield f"{where} calls {query.listed(volatile)}; a rollback may not take back what that does"
        elif item is not work.before and not _may_be_tried(item, work):
            yield f"{where} is a SELECT, which changes something only by what it calls"


def _may_be_tried(item: SqlStatement, work: Work) -> bool:
    return work.catalog or statements.verb(item.statement) in _TRIED


async def _by_plan(session: Session, work: Work, where: str, item: SqlStatement) -> str:
    """Say what is called by what a statement meets; empty where nothing is. What its own text calls was looked at before."""
    if statements.verb(item.statement) == "SHOW":
        return ""
    plan = (await session.run(f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {item.statement}", work.params(item))).rows
    definitions = await session.run(_DEFINITIONS, {"defaults": statements.may_use_defaults(item.statement)}, _TEXTS)
    defined = {kind: [row["text"] for row in definitions.rows if row["is_default"] is kind] for kind in (False, True)}
    planned = [*_texts(plan), *defined[True]]
    # JSON that is nested too deep comes as a text
    if definitions.truncated or len(planned) > _TEXTS or any(isinstance(row["QUERY PLAN"], str) for row in plan):
        return f"{where} has a plan that is too long, or nested too deep, to be read"
    # the next value of a column's own sequence is lost by a rollback, as by any failed INSERT
    met = (_called(planned) - {"nextval"}) | _called(defined[False])
    called = met - statements.called(statements.as_sent(item.statement))
    volatile = await _volatile(session, called, frozenset(), catalog=False)
    told = "by a view, rule, policy, constraint or default; a rollback may not take back what that does"
    return f"{where} calls {query.listed(volatile)} {told}" if volatile else ""


def _called(texts: list[str]) -> frozenset[str]:
    """Return what texts call, each read alone: the name of a CTE stands in a plan as it is, and may hold a quote."""
    return frozenset().union(*map(statements.called, texts))


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a plan."""
    match value:
        case str():
            yield value
        case dict() | list():
            for item in value.values() if isinstance(value, dict) else value:
                yield from _texts(item)


async def _volatile(
    session: Session, called: frozenset[str], attributes: frozenset[str], *, catalog: bool
) -> tuple[str, ...]:
    """Return the functions that stand in the way of a trial; where catalogs may change, one that rolls back does not."""
    if not called | attributes:
        return ()
    names = {"called": sorted(called), "attributes": sorted(attributes)}
    lists = {"harmless": list(_HARMLESS), "large": list(_LARGE_OBJECTS), "running": list(_RUNNING)}
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
    catalogs = f"; changes {query.listed(change.catalogs, 20)}" if change.catalogs else ""
    tables = (
        f"; locks {query.listed(change.exclusive)} exclusively, where rows are not counted" if change.exclusive else ""
    )
    return catalogs + tables


def _summary(rows: int, work: Work, unusual: str) -> Tried:
    count = action.counted(rows)
    if rows > work.max_rows:
        return Tried(f"{count}: more than maxRows {work.max_rows}, it would be rolled back")
    if work.binds_count:
        return Tried(count + unusual)
    return Tried(f"up to {action.counted(work.max_rows)}{unusual}", count)
