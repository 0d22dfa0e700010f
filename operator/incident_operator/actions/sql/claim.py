"""One effect in the transaction of a session: its statements, run in order and measured, and the marker row. Commits nothing.

The marker's table is made by `clients/effects.sql`. A row that says how many rows were changed proves that the effect happened. One that
does not is a tombstone: somebody looked for the effect and found none, and whoever still tries it under that key finds the key taken.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Any

from pydantic import Field

from incident_operator import clients
from incident_operator.actions.sql import query
from incident_operator.actions.sql.query import Change
from incident_operator.api.meta import Model
from incident_operator.clients import sql_values
from incident_operator.clients.sql import Row, Rows, Session
from incident_operator.clients.sql_errors import Fault, SqlError
from incident_operator.core import action, sanitize
from incident_operator.core.action import Call, Params, Statement
from incident_operator.core.expressions.templates import Take
from incident_operator.core.sanitize import WRAPPED, loads

TABLE = "incident_operator.incident_operator_effects"
_CLAIM = f"""INSERT INTO {TABLE} (step_key, incident, step) VALUES (%(key)s, %(incident)s, %(step)s)
ON CONFLICT (step_key) DO NOTHING"""  # noqa: S608 - a constant
_IMAGE_BYTES = 14 * 1024 * 1024
"""Of an image as the server writes it: jsonb comes with blanks, and with every digit of a number such as 1e300."""
_TOO_LARGE = "-"
"""Comes in place of an image that is longer: not JSON, so it is told as what cannot be read, and the effect as done."""


def _image_of(column: str) -> str:
    return f"""CASE WHEN pg_catalog.octet_length({column}::pg_catalog.text) > {_IMAGE_BYTES} THEN '{_TOO_LARGE}'
    ELSE {column}::pg_catalog.text END AS {column}"""


_FIND = f"""SELECT rows_changed, {_image_of("before")}, {_image_of('"returning"')}, applied_at
FROM {TABLE} WHERE step_key = %(key)s"""  # noqa: S608
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


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The effect has not happened, and cannot any more under its key."""


async def claim(session: Session, call: Call[Any]) -> bool:
    """Insert the marker; False where it is there already. Raises `SqlError`.

    Waits for another session that has inserted it and not ended yet; where that takes too long, nobody knows what comes of it.
    """
    mark = {"key": call.key, "incident": f"{call.namespace}/{call.incident}", "step": call.step}
    try:
        return (await session.run(_CLAIM, mark)).affected == 1
    except SqlError as error:
        raise _unclaimed(error, session.secret.get("username", "")) from None


async def find(session: Session, key: str) -> Applied | Withdrawn:
    """Return what the marker of an earlier try says. Raises `SqlError`, also where it is gone."""
    rows = (await session.run(_FIND, {"key": key}, arriving=3 * _IMAGE_BYTES)).rows
    if not rows:
        told = "the marker of this step vanished while it was read"
        raise SqlError(Fault.CONFLICT, told, maybe_applied=True)
    row = rows[0]
    if row["rows_changed"] is None:
        return Withdrawn()
    before, returning = _image(row["before"]), _image(row["returning"])
    partial = before is None or returning is None
    return Applied(row["rows_changed"], before or [], returning or [], row["applied_at"], partial)


async def find_or_withdraw(session: Session, call: Call[Any]) -> Applied | Withdrawn:
    """Return what became of an effect, and where it has not happened, commit the tombstone. Raises `SqlError`.

    A try that is still open is waited for: the row that it inserted keeps ours out until it ends.
    """
    if not await claim(session, call):
        return await find(session, call.key)
    await session.commit()
    return Withdrawn()


async def store(session: Session, key: str, applied: Applied) -> None:
    """Write what was done into the marker that this transaction inserted. Raises `SqlError`."""
    images = {"before": _written(applied.before), "returning": _written(applied.returning)}
    if (await session.run(_STORE, {"key": key, "rows": applied.rows_changed, **images})).affected != 1:
        raise SqlError(Fault.STATEMENT, f"the statement removed its own marker from {TABLE}; rolled back")


def setup_sql(role: str) -> str:
    """Return the set-up for one role on one line."""
    text = resources.files(clients).joinpath("effects.sql").read_text()
    statements = " ".join(_COMMENT.sub("", text).split())
    return statements.replace(':"role"', '"' + role.replace('"', '""') + '"')


def _unclaimed(error: SqlError, role: str) -> SqlError:
    """Say what keeps the marker out: how to create its table or grant it, or that somebody else has it."""
    match error.fault:
        case Fault.MISSING:
            told = f"{TABLE} is missing; the owner of the database creates it with: {setup_sql(role)}"
            return SqlError(error.fault, told)
        case Fault.FORBIDDEN:
            told = f"{error.message}; the owner of the database grants it with: {setup_sql(role)}"
            return SqlError(error.fault, told)
        case Fault.READ_ONLY:
            return SqlError(Fault.STANDBY, error.message)
        case Fault.LOCKED:
            told = f"another try of this step is under way: {error.message}"
            return SqlError(error.fault, told, maybe_applied=True)
        case _:
            return error


def _written(rows: list[Row]) -> str:
    text = sql_values.stored(rows).decode()
    # json knows NUL, jsonb does not; a look at the text costs less than one at each value
    return sql_values.stored(sanitize.result(rows)).decode() if _NUL in text else text


def _image(text: str | None) -> list[Row] | None:
    """Return rows as a marker holds them; None where they cannot be read, which leaves what was done as done."""
    try:
        rows = loads(text or "[]", WRAPPED)
    except ValueError:
        return None
    return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else None


MARKER = "marker"
IMAGE_ROWS = 10_000
"""Rows of a before-image, or of all RETURNING together; they are stored whole in the marker."""
IMAGE_BYTES = 8 * 1024 * 1024


class SqlStatement(Model):
    """One statement with its bound parameters."""

    statement: Statement
    """A single statement; values come in through `params`, as `%(name)s`."""
    params: Annotated[Params, Take.NATIVE] = Field(default_factory=dict)
    """Values for `%(name)s` in the statement."""


@dataclass(frozen=True, slots=True)
class Work:
    """The statements of one effect, in order, and their limits."""

    statements: tuple[SqlStatement, ...]
    before: SqlStatement | None
    max_rows: int
    marker: str
    """Bound as `%(marker)s`: the own step key, or in an undo that of the effect which is taken back."""
    catalog: bool = False
    """Whether it may change system catalogs and lock tables exclusively."""
    is_tried: bool = True
    binds_count: bool = True
    """Whether an approval binds the number of rows that a trial counted; else it binds `max_rows` only."""

    @property
    def parts(self) -> Iterator[tuple[str, SqlStatement]]:
        """Every statement with the field it is written in, in the order they run."""
        if self.before is not None:
            yield "before", self.before
        for number, item in enumerate(self.statements):
            yield "statement" if len(self.statements) == 1 else f"statements[{number}]", item

    def params(self, item: SqlStatement) -> Mapping[str, Any]:
        """Return what is bound in a statement: its own parameters, and the marker."""
        return {**item.params, MARKER: self.marker}


@dataclass(frozen=True, slots=True)
class Done:
    """What the statements did, while it can still be rolled back."""

    applied: Applied
    change: Change


Check = Callable[[str, SqlStatement], Awaitable[None]]
"""Looks at a statement, and the field it is written in, right before it runs, and raises what keeps it from running."""


async def _unchecked(where: str, item: SqlStatement) -> None: ...


async def carry_out(session: Session, work: Work, check: Check = _unchecked) -> Done:
    """Run the statements in the session's transaction and measure what they changed. Raises `SqlError`."""
    start = await query.counts(session)
    before: list[Row] = []
    done: list[Rows] = []
    for where, item in work.parts:
        await check(where, item)
        if item is work.before:
            before = await _rows_now(session, work, item)
        else:
            done.append(await session.run(item.statement, work.params(item), IMAGE_ROWS))
    change = await query.settled(session, start)
    if not work.catalog:
        query.refuse_uncounted(change)
    # a foreign table has no statistics here, so what the server says it changed counts too
    told = sum(rows.affected for rows in done)
    return Done(Applied(max(change.rows, told), before, _returned(done)), change)


async def _rows_now(session: Session, work: Work, before: SqlStatement) -> list[Row]:
    found = await session.read(before.statement, work.params(before), IMAGE_ROWS)
    return _whole("before", found.rows, truncated=found.truncated)


def _returned(done: list[Rows]) -> list[Row]:
    rows = [row for part in done for row in part.rows]
    truncated = len(rows) > IMAGE_ROWS or any(part.truncated for part in done)
    return _whole("RETURNING", rows, truncated=truncated)


def _whole(what: str, rows: list[Row], *, truncated: bool) -> list[Row]:
    # an image that is cut is not one: an undo would miss what is not in it
    if truncated or action.size(rows) > IMAGE_BYTES:
        most = f"{IMAGE_ROWS} rows or {IMAGE_BYTES // 1024 // 1024} MiB"
        raise SqlError(Fault.STATEMENT, f"{what} gives more than {most}, too much to store; select less")
    return rows
