"""Measures what a transaction has changed so far, whatever did it: cascades, triggers, functions, views.

The command tag of a statement counts only its own target. PostgreSQL's per-transaction statistics count every table
that was touched; TRUNCATE and DDL do not show there, but give themselves away by the lock they take.
"""

from incident_operator.clients.sql import Session
from incident_operator.clients.sql_errors import Fault, SqlError

_CHANGED = """SELECT pg_catalog.current_setting('track_counts') AS counting,
  COALESCE(pg_catalog.sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::pg_catalog.int8 AS changed
FROM pg_catalog.pg_stat_xact_user_tables
WHERE NOT (schemaname = 'incident_operator' AND relname = 'incident_operator_effects')"""

_EXCLUSIVE = """SELECT COALESCE(held.relation::pg_catalog.regclass::pg_catalog.text, '?') AS relation
FROM pg_catalog.pg_locks AS held LEFT JOIN pg_catalog.pg_class AS class ON class.oid = held.relation
WHERE held.pid = pg_catalog.pg_backend_pid() AND held.locktype = 'relation' AND held.mode = 'AccessExclusiveLock'
  AND class.relpersistence IS DISTINCT FROM 't'
ORDER BY 1 LIMIT 1"""


async def changed(session: Session) -> int:
    """Return how many rows the transaction inserted, updated and deleted until now, in all ordinary tables.

    A row that moves between partitions counts twice: as deleted and as inserted. Raises `SqlError`, also where the
    server does not count or where a table was truncated, altered or dropped.
    """
    measured = (await session.run(_CHANGED, {})).rows[0]
    if measured["counting"] != "on":
        raise SqlError(Fault.STATEMENT, "cannot measure changes: track_counts is off on this server")
    return int(measured["changed"])


async def refuse_exclusive_locks(session: Session) -> None:
    """Raise `SqlError` where a table is locked as only TRUNCATE and DDL do; temporary tables are free."""
    found = (await session.run(_EXCLUSIVE, {})).rows
    if found:
        relation = found[0]["relation"]
        raise SqlError(
            Fault.STATEMENT, f"locked {relation} exclusively, as TRUNCATE and DDL do: their rows cannot be counted"
        )


async def settle(session: Session) -> None:
    """Run what is deferred to the commit now, so that its changes are measured and its refusals are certain."""
    await session.run("SET CONSTRAINTS ALL IMMEDIATE", {})
