"""One session on a PostgreSQL database: single statements with bound parameters, JSON rows back.

How a session is opened and bounded is in `sql_sessions.py`.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from psycopg import pq

from incident_operator.clients import sql_values
from incident_operator.clients.sql_errors import Fault, SqlError, explained
from incident_operator.clients.sql_line import Line
from incident_operator.core import results

Row = dict[str, Any]
ANSWER_BYTES = 12 * 1024 * 1024
"""Of what a server answers to one statement of a session that may change something: more than a before-image may have."""
_ROLLED_BACK = frozenset({Fault.CONFLICT, Fault.STATEMENT, Fault.FORBIDDEN, Fault.MISSING, Fault.LOCKED})
"""What a server says of a commit only after it took all back; any other trouble leaves open what became of it."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What a statement gave back, as plain JSON."""

    rows: list[Row]
    affected: int = 0
    """Rows changed, by the server's command tag; 0 for a query. Cascades, triggers and functions are not in it."""
    truncated: bool = False
    """There were more rows than asked for."""


class _OneStatement(psycopg.AsyncCursor[Any]):
    """Sends by the extended protocol, in which the server refuses `a; b`, and gives the statement no name.

    psycopg sends what has no parameters by the simple protocol, which would run both. Its public ways around that do not
    serve: `prepare=True` leaves a named statement on the server connection, where the next client of a pooler in
    transaction mode fails to prepare its own of that name; and in a pipeline after a `stream`, libpq still gives single rows.
    """

    def _execute_send(self, query: Any, **how: Any) -> None:
        super()._execute_send(query, **how | {"force_extended": True})


@dataclass(frozen=True, slots=True)
class Session:
    """One transaction on one connection. Everything raises `SqlError`."""

    connection: psycopg.AsyncConnection[Any]
    secret: Mapping[str, str]
    name: str
    """`host:port/database`, for messages."""
    ends_at: float
    """Time of the event loop at which the line is cut."""
    line: Line | None = None
    """What bounds the answers, where a session may change something."""

    @property
    def lost(self) -> bool:
        """Whether the connection is gone, so that the server's last word is not known."""
        return self.connection.closed or self.connection.pgconn.status == pq.ConnStatus.BAD

    async def read(self, statement: str, params: Mapping[str, Any], most: int, budget: int | None = None) -> Rows:
        """Run one query and return its first `most` rows; no more of them, and one after another, is ever held in memory.

        With a budget its long texts are cut, and no more rows are read than fit so many bytes of JSON.
        """
        bound = sql_values.bind(params)
        rows: list[Row] = []
        names: list[str] = []
        with self._explained(ANSWER_BYTES):
            async with self.connection.cursor() as cursor, aclosing(_stream(cursor, statement, bound)) as stream:
                async for values in stream:
                    if len(rows) == most:
                        return Rows(rows, truncated=True)
                    names = names or _names(cursor)
                    row = _row(names, values)
                    if budget is not None:
                        row = results.shortened(row)
                        budget -= results.size(row)
                        if budget < 0:
                            return Rows(rows, truncated=True)
                    rows.append(row)
        return Rows(rows)

    async def run(
        self, statement: str, params: Mapping[str, Any], most: int = 1, *, arriving: int = ANSWER_BYTES
    ) -> Rows:
        """Run one statement and return what it changed, and the first `most` rows that it returned.

        Where the server answers with more than `arriving` bytes, all of them together, the transaction is rolled back.
        """
        bound = sql_values.bind(params)
        with self._explained(arriving):
            async with _OneStatement(self.connection) as cursor:
                await cursor.execute(statement, bound)
                found = await cursor.fetchmany(most + 1) if cursor.description else []
                names = _names(cursor) if found else []
                rows = [_row(names, values) for values in found[:most]]
                return Rows(rows, _affected(cursor), truncated=len(found) > most)

    async def commit(self) -> None:
        """Make it last. Raises `SqlError`, `maybe_applied` where nobody here knows what the server did."""
        try:
            with self._explained(None):
                await self.connection.commit()
        except SqlError as error:
            if error.fault in _ROLLED_BACK and not self.lost:
                raise
            told = f"{self.name}: the connection was lost at COMMIT"
            raise SqlError(error.fault, told, maybe_applied=True) from None

    @contextmanager
    def _explained(self, arriving: int | None) -> Iterator[None]:
        """Say what goes wrong inside, where so many bytes may come; None where nothing may be cut any more."""
        if self.line is not None:
            self.line.allow(arriving)
        try:
            with explained(self.secret):
                yield
        except SqlError:
            if self.line is not None and self.line.exceeded:
                told = f"the server's answer is longer than {(arriving or 0) // 1024 // 1024} MiB, too much to store; rolled back"
                raise SqlError(
                    Fault.STATEMENT, f"{told}. Return less: for example left(…, 1000) of a long text"
                ) from None
            if self.lost and asyncio.get_running_loop().time() >= self.ends_at:
                raise SqlError(Fault.UNREACHABLE, f"{self.name}: no answer in time; the connection was cut") from None
            raise


def _stream(
    cursor: psycopg.AsyncCursor[Any], statement: str, bound: Mapping[str, Any]
) -> AsyncGenerator[tuple[Any, ...], None]:
    # this is the extended protocol as well, unnamed; psycopg promises an iterator only, but that it is a generator lets
    # us end it before its end
    return cast("AsyncGenerator[tuple[Any, ...], None]", cursor.stream(statement, bound))


def _affected(cursor: psycopg.AsyncCursor[Any]) -> int:
    is_query = (cursor.statusmessage or "").startswith(("SELECT", "SHOW"))
    return 0 if is_query else max(0, cursor.rowcount)


def _names(cursor: psycopg.AsyncCursor[Any]) -> list[str]:
    """Return the names of the columns of a result. Raises `SqlError` where two are the same."""
    names = [column.name for column in cursor.description or ()]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise SqlError(Fault.STATEMENT, f'two columns of the result are named "{twice}"; give one of them an alias')
    return names


def _row(names: list[str], values: tuple[Any, ...]) -> Row:
    return dict(zip(names, map(sql_values.plain, values), strict=True))
