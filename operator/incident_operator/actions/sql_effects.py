"""The marker row: in the transaction of an effect, and so proof of it. The table is made by `clients/effects.sql`."""

import re
from dataclasses import dataclass
from importlib import resources

import orjson

from incident_operator import clients
from incident_operator.clients.sql import Row, Session
from incident_operator.clients.sql_errors import Fault, SqlError
from incident_operator.core import json_depth, sanitize

TABLE = "incident_operator.incident_operator_effects"
_CLAIM = f"""INSERT INTO {TABLE} (step_key, incident, step) VALUES (%(key)s, %(incident)s, %(step)s)
ON CONFLICT (step_key) DO NOTHING"""  # noqa: S608 - a constant
_FIND = f"""SELECT rows_changed, before::pg_catalog.text AS before,
  "returning"::pg_catalog.text AS "returning", applied_at FROM {TABLE} WHERE step_key = %(key)s"""  # noqa: S608
_STORE = f"""UPDATE {TABLE} SET rows_changed = %(rows)s,
  before = %(before)s::pg_catalog.jsonb, "returning" = %(returning)s::pg_catalog.jsonb
WHERE step_key = %(key)s"""  # noqa: S608
_NUL = "\\u0000"
_COMMENT = re.compile(r"--[^\n]*")


@dataclass(frozen=True, slots=True)
class Applied:
    """What an effect did; the same whether it was just done or is read from its marker."""

    rows_changed: int
    before: list[Row]
    returning: list[Row]
    at: str | None = None
    """When it was done, if that was earlier."""
    partial: bool = False
    """The marker holds more than could be read."""


async def claim(session: Session, key: str, incident: str, step: str) -> bool:
    """Insert the marker; False where it is there already. Waits for another session that is about to insert it."""
    marker = {"key": key, "incident": incident, "step": step}
    return (await session.run(_CLAIM, marker)).affected == 1


async def find(session: Session, key: str) -> Applied | None:
    """Return what the marker of an earlier run says."""
    rows = (await session.run(_FIND, {"key": key})).rows
    if not rows:
        return None
    row = rows[0]
    before, returning = _image(row["before"]), _image(row["returning"])
    partial = before is None or returning is None
    return Applied(row["rows_changed"] or 0, before or [], returning or [], row["applied_at"], partial)


async def store(session: Session, key: str, applied: Applied) -> None:
    """Write what was done into the marker that this transaction inserted."""
    images = {"before": _written(applied.before), "returning": _written(applied.returning)}
    if (await session.run(_STORE, {"key": key, "rows": applied.rows_changed, **images})).affected != 1:
        raise SqlError(Fault.STATEMENT, f"the statement removed its own marker from {TABLE}; rolled back")


def _written(rows: list[Row]) -> str:
    text = orjson.dumps(rows).decode()
    # json knows NUL, jsonb does not; a look at the text costs less than one at each value
    return orjson.dumps(sanitize.result(rows)).decode() if _NUL in text else text


def _image(text: str | None) -> list[Row] | None:
    """Return rows as a marker holds them; None where they cannot be read, which leaves what was done as done."""
    try:
        rows = json_depth.loads(text or "[]", json_depth.WRAPPED)
    except ValueError:
        return None
    return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else None


def explain_missing(error: SqlError, role: str) -> SqlError:
    """Say how to create the marker table, or grant it, where that is what is wrong."""
    if error.fault is Fault.MISSING:
        return SqlError(
            error.fault, f"{TABLE} is missing; the owner of the database creates it with: {setup_sql(role)}"
        )
    if error.fault is Fault.FORBIDDEN:
        return SqlError(error.fault, f"{error.message}; the owner of the database grants it with: {setup_sql(role)}")
    return error


def setup_sql(role: str) -> str:
    """Return the set-up for one role on one line."""
    text = resources.files(clients).joinpath("effects.sql").read_text()
    statements = " ".join(_COMMENT.sub("", text).split())
    return statements.replace(':"role"', '"' + role.replace('"', '""') + '"')
