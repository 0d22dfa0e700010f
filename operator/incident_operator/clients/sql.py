"""Sessions on a PostgreSQL database, each of bounded length: single statements with bound parameters, JSON rows back.

Every call gets a session of its own: nothing that a statement sets, locks or prepares outlives it, a failed-over or
rotated database is met afresh, and no idle connection is kept on a database in trouble. What a pool would bound,
the number of sessions on one database, is bounded here too, and shared fairly (`kubernetes/priority.py`).
"""

import asyncio
import os
import socket
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakValueDictionary

import psycopg
from psycopg import IsolationLevel, pq

from incident_operator.clients import addresses, sql_values
from incident_operator.clients.sql_errors import Fault, SqlError, explained
from incident_operator.clients.sql_values import GREETING_BYTES, Line, Lines
from incident_operator.connections import Endpoint
from incident_operator.connections import postgres as declared
from incident_operator.connections.postgres import Postgres
from incident_operator.core import action
from incident_operator.kubernetes.fair_shares import FLOW, Seat, Seats
from incident_operator.kubernetes.priority import SESSIONS

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
                        row = action.shortened(row)
                        budget -= action.size(row)
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


CONNECT_SECONDS = 5
LOCK_SECONDS = 5.0
"""Longest wait for another session's lock: who waits in PostgreSQL makes others queue behind."""
GRACE_SECONDS = 2.0
"""What the server gets beyond its own statement timeout before the line is cut."""

_LIMITS = """SELECT pg_catalog.set_config(wanted.name, wanted.value, true) FROM (VALUES
  ('statement_timeout', %(timeout)s),
  ('lock_timeout', %(lock)s),
  ('idle_in_transaction_session_timeout', %(timeout)s),
  ('TimeZone', 'UTC'),
  ('DateStyle', 'ISO, YMD'),
  ('IntervalStyle', 'iso_8601'),
  ('bytea_output', 'hex'),
  ('standard_conforming_strings', 'on'),
  ('synchronous_commit', COALESCE(NULLIF(pg_catalog.current_setting('synchronous_commit'), 'off'), 'on'))
) AS wanted (name, value)"""
"""A commit that a crash of the server could take back would not be exactly once, hence no `synchronous_commit = off`."""


class Sessions:
    """Gives out sessions. One for the process; holds no connection of its own."""

    def __init__(self) -> None:
        self._seats: WeakValueDictionary[tuple[str, int, str], Seats] = WeakValueDictionary()

    @asynccontextmanager
    async def open(self, endpoint: Endpoint, seconds: float, *, read_only: bool) -> AsyncIterator[Session]:
        """Yield a session in one transaction, rolled back unless it is committed. Raises `SqlError`.

        A statement may take `seconds`, and so may all of them together: then the line is cut.
        """
        async with self.slot(endpoint, seconds), connected(endpoint, seconds, read_only=read_only) as session:
            yield session

    @asynccontextmanager
    async def slot(self, endpoint: Endpoint, seconds: float) -> AsyncIterator[None]:
        """Hold one of the sessions that one database may have, for whoever opens it. Raises `SqlError` after `seconds`."""
        where = postgres(endpoint)
        seats = self._seats.setdefault((where.host, where.port, where.database), Seats(SESSIONS, lends=True))
        seat = await _seat(seats, where, seconds)
        try:
            yield
        finally:
            seats.leave(seat)


async def _seat(seats: Seats, where: Postgres, seconds: float) -> Seat:
    try:
        async with asyncio.timeout(seconds):
            return await seats.wait(FLOW.get())
    except TimeoutError:
        message = f"{_name(where)}: all {SESSIONS} sessions stayed busy for {seconds:g}s"
        raise SqlError(Fault.UNREACHABLE, message) from None


@asynccontextmanager
async def connected(endpoint: Endpoint, seconds: float, *, read_only: bool) -> AsyncIterator[Session]:
    """Yield the same, for whoever holds a place already. Raises `SqlError`."""
    # an act's answers are bounded; what a query reads is bounded by who reads it
    connection, line = await _connect(endpoint, seconds, None if read_only else Lines())
    guard = asyncio.get_running_loop().call_later(seconds + GRACE_SECONDS, _cut, connection)
    session = Session(connection, endpoint.secret, _name(postgres(endpoint)), guard.when(), line)
    try:
        await _begin(session, seconds, read_only)
        yield session
    finally:
        guard.cancel()
        with suppress(psycopg.Error, OSError):  # what was committed stays so, however the line ends
            await connection.close()
        if line is not None:
            await line.close()


async def _connect(
    endpoint: Endpoint, seconds: float, lines: Lines | None
) -> tuple[psycopg.AsyncConnection[Any], Line | None]:
    """Return an open connection and, where there are to be lines, its own. Raises `SqlError`."""
    kind = psycopg.AsyncConnection if lines is None else lines.connection()
    try:
        connection = await _opened(kind, endpoint, seconds)
        return connection, None if lines is None else lines.last()
    except SqlError:
        if lines is None or not lines.exceeded:
            raise
        told = f"{_name(postgres(endpoint))}: the server sent more than {GREETING_BYTES // 1024 // 1024} MiB before the connection was open"
        raise SqlError(Fault.TOO_LARGE, told) from None
    finally:
        if lines is not None:
            await lines.close()


async def _opened(
    kind: type[psycopg.AsyncConnection[Any]], endpoint: Endpoint, seconds: float
) -> psycopg.AsyncConnection[Any]:
    limit = max(1.0, min(float(CONNECT_SECONDS), seconds))
    where = postgres(endpoint)
    with tempfile.NamedTemporaryFile("w", suffix=".crt") as trust, explained(endpoint.secret):
        options = _options(endpoint)
        if "ca.crt" in endpoint.secret:
            trust.write(endpoint.secret["ca.crt"])
            trust.flush()
            options["sslrootcert"] = trust.name
        try:
            async with asyncio.timeout(limit):
                options |= await _addresses(where)
                return await kind.connect(**options)
        except TimeoutError:
            raise SqlError(Fault.UNREACHABLE, f"{_name(where)}: no answer within {limit:g}s") from None


async def _addresses(where: Postgres) -> dict[str, str]:
    """Return host and hostaddr of each checked address: libpq connects to these alone, and TLS verifies the name beside them.

    Several hosts stand in one text with commas between them, as libpq takes them; a path is that of a Unix socket.
    """
    found: list[tuple[str, str]] = []
    failure: OSError | None = None
    for host in where.host.split(","):
        if host.startswith("/"):
            found.append((host, ""))
            continue
        try:
            found += [(host, address) for address in await addresses.resolved(host, where.port)]
        except addresses.AddressError as error:
            raise SqlError(Fault.REJECTED, f"{_name(where)}: {error}") from None
        except OSError as error:
            failure = OSError(f"failed to resolve host {host!r}: {error.strerror}")
    if not found and failure is not None:
        raise failure
    return {"host": ",".join(host for host, _ in found), "hostaddr": ",".join(address for _, address in found)}


def _options(endpoint: Endpoint) -> dict[str, Any]:
    where = postgres(endpoint)
    options: dict[str, Any] = {
        "port": where.port,
        "dbname": where.database,
        "user": _user(endpoint),
        "password": endpoint.secret.get("password", ""),
        "sslmode": where.ssl_mode,
        "gssencmode": "disable",
        "passfile": os.devnull,
        "client_encoding": "utf8",
        "application_name": "incident-operator",
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        # no statement gets a name on the server: behind a pooler that is not ours alone
        "prepare_threshold": None,
    }
    return options


def _user(endpoint: Endpoint) -> str:
    user = endpoint.secret.get("username")
    if not user:
        name = endpoint.connection.metadata.name
        raise SqlError(Fault.REJECTED, f'the Secret of Connection "{name}" has no key "username"')
    return user


async def _begin(session: Session, seconds: float, read_only: bool) -> None:
    connection = session.connection
    sql_values.register(connection)
    await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
    await connection.set_read_only(read_only)
    lock = min(LOCK_SECONDS, seconds / 2)
    try:
        await session.run(_LIMITS, {"timeout": _milliseconds(seconds), "lock": _milliseconds(lock)})
    except SqlError as error:
        if error.fault is not Fault.STATEMENT or read_only:
            raise
        # a standby refuses to begin a transaction that may write (0A000)
        raise SqlError(Fault.STANDBY, f"{session.name}: {error.message}") from None


def _milliseconds(seconds: float) -> str:
    return str(max(1, int(seconds * 1000)))


def _cut(connection: psycopg.AsyncConnection[Any]) -> None:
    """Shut the socket: a cancelled query would wait for a server that may never answer again."""
    with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def postgres(endpoint: Endpoint) -> Postgres:
    """Return where the database is. Raises `SqlError` for a Connection of another type."""
    where = declared.CONNECTION.of(endpoint.connection.spec)
    if where is None:
        name, kind = endpoint.connection.metadata.name, endpoint.connection.spec.type
        raise SqlError(Fault.REJECTED, f'Connection "{name}" is of type {kind}, not postgres')
    return where


def _name(where: Postgres) -> str:
    return f"{where.host}:{where.port}/{where.database}"
