"""Opens short sessions on a PostgreSQL endpoint, each of bounded length. Knows nothing of steps or markers.

Every call gets a session of its own: nothing that a statement sets, locks or prepares outlives it, a failed-over or
rotated database is met afresh, and no idle connection is kept on a database in trouble. What a pool would bound,
the number of sessions on one database, is bounded here too, and shared fairly (`clients/priority.py`).
"""

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from weakref import WeakValueDictionary

import psycopg
from psycopg import IsolationLevel

from incident_operator.clients import addresses, sql_values
from incident_operator.clients.endpoint import Endpoint
from incident_operator.clients.priority import SESSIONS
from incident_operator.clients.seats import FLOW, Seat, Seats
from incident_operator.clients.sql import Session
from incident_operator.clients.sql_errors import Fault, SqlError, explained
from incident_operator.clients.sql_line import GREETING_BYTES, Line, Lines
from incident_operator.connections import postgres as declared
from incident_operator.connections.postgres import Postgres

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
