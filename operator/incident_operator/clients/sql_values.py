"""Values on their way into PostgreSQL and out of it, and the line that they come by: JSON in, JSON out.

One table says which type of PostgreSQL is which type of an expression, for the loaders of a session and for the docs. A type decides, never
a value: `numeric` is a double whether it holds 3, 0.1 or NaN. A type that is in no row is a text, as the server writes it.

libpq keeps a row, a notice or an error whole, whatever its size, before anybody can look at it. So what the server sends is
counted before libpq has it: its socket is changed for one end of a pair, and what passes between the other end and the server
passes here. Where a statement is answered with more than is allowed, the line is cut; until COMMIT is sent that is a rollback.
It stands there from the first byte on, for a server may send a notice of any size while the connection is opened.
"""

import asyncio
import base64
import math
import os
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

import orjson
import psycopg
from psycopg.abc import Buffer, PQGenConn
from psycopg.adapt import Loader
from psycopg.types.json import Jsonb

from incident_operator.clients import sql_errors
from incident_operator.clients.sql_errors import Fault, Number, SqlError
from incident_operator.core.outcomes import Json


class Gives(StrEnum):
    """What an expression gets."""

    BOOL = "bool"
    INT = "int"
    DOUBLE = "double"
    TEXT = "string"
    DURATION = "string that `duration(…)` reads"
    TIMESTAMP = "string that `timestamp(…)` reads"
    JSON = "what the JSON is"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Row:
    """Types of PostgreSQL that become the same."""

    types: tuple[str, ...]
    """Names in `pg_catalog.pg_type`."""
    gives: Gives
    example: str
    """An expression of SQL, for the docs and the tests."""
    becomes: Json
    """What the example is in an expression."""
    told: str = ""
    """What is to be known of it, for the docs."""
    read: Callable[[str], Json] | None = None
    """Makes a value of the text that the server sends; None where the driver's own loader does."""


TABLE: tuple[Row, ...] = (
    Row(("bool",), Gives.BOOL, "true", True),
    Row(("int2", "int4", "int8", "oid"), Gives.INT, "count(*)", 1),
    Row(
        ("numeric",),
        Gives.DOUBLE,
        "avg(2.5)",
        2.5,
        "also of `avg`, and of `sum` over `int8`. It has some 15 digits, and `v::text` has all; beyond its range it is infinite",
        sql_errors.number,
    ),
    Row(
        ("float4", "float8"),
        Gives.DOUBLE,
        "0.25::float8",
        0.25,
        "NaN and infinities too; with NaN every comparison but `!=` is false",
        sql_errors.number,
    ),
    Row(
        ("interval",),
        Gives.DURATION,
        "interval '1 day 2 hours'",
        "93600s",
        "a month has 30 days, a year 365.25, as in `extract(epoch …)`",
        sql_errors.duration,
    ),
    Row(
        ("timestamptz", "timestamp"),
        Gives.TIMESTAMP,
        "timestamptz '2025-10-21 02:30:04+02'",
        "2025-10-21T00:30:04Z",
        "UTC; one without a time zone is taken as UTC. `infinity`, BC and years above 9999 are as PostgreSQL writes them",
        sql_errors.moment,
    ),
    Row(
        ("date",), Gives.TEXT, "date '2025-10-21'", "2025-10-21", "`timestamp(v + 'T00:00:00Z')` is when it begins", str
    ),
    Row(("time", "timetz"), Gives.TEXT, "time '24:00:00'", "24:00:00", "", str),
    Row(
        ("text", "varchar", "bpchar", "name", "char", "xml", "refcursor", "cstring"),
        Gives.TEXT,
        "text 'new'",
        "new",
        "and an enum. `char(n)` keeps its blanks",
    ),
    Row(
        ("json", "jsonb"),
        Gives.JSON,
        """jsonb '{"a": [1, null]}'""",
        {"a": [1, None]},
        "a number beyond the range of a double is infinite",
        sql_errors.json,
    ),
    Row(("bytea",), Gives.TEXT, r"bytea '\x00ff'", "AP8=", "base64", sql_errors.octets),
    Row(
        ("money",), Gives.TEXT, "money '12.5'", "$12.50", "as `lc_monetary` of the server has it: compare `v::numeric`"
    ),
    Row(
        ("uuid",),
        Gives.TEXT,
        "uuid '0b9e2c6e-7c39-4a2f-8d7c-3f1f5a0b7c11'",
        "0b9e2c6e-7c39-4a2f-8d7c-3f1f5a0b7c11",
        "",
        str,
    ),
    Row(("inet", "cidr", "macaddr", "macaddr8"), Gives.TEXT, "inet '10.0.0.1'", "10.0.0.1", "", str),
    Row(("bit", "varbit"), Gives.TEXT, "B'101'", "101"),
    Row(("point", "line", "lseg", "box", "path", "polygon", "circle"), Gives.TEXT, "point '(1,2)'", "(1,2)"),
    Row(("tsvector", "tsquery", "gtsvector", "jsonpath"), Gives.TEXT, "tsquery 'a & b'", "'a' & 'b'"),
    Row(
        (
            *("regclass", "regcollation", "regconfig", "regdictionary", "regnamespace", "regoper", "regoperator"),
            *("regproc", "regprocedure", "regrole", "regtype"),
        ),
        Gives.TEXT,
        "regclass 'pg_class'",
        "pg_class",
        "the name",
    ),
    Row(
        ("xid", "xid8", "cid", "tid", "pg_lsn", "pg_snapshot", "txid_snapshot", "aclitem", "int2vector", "oidvector"),
        Gives.TEXT,
        "pg_lsn '16/B374D848'",
        "16/B374D848",
        "`pg_wal_lsn_diff(…)` is a `numeric`, `age(…)` an `int4`",
    ),
    Row(
        (
            *("pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list"),
            *("pg_brin_bloom_summary", "pg_brin_minmax_multi_summary"),
        ),
        Gives.TEXT,
        "NULL::pg_node_tree",
        None,
        "of the server's own tables",
    ),
    Row(
        (
            *("int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange"),
            *("int4multirange", "int8multirange", "nummultirange", "datemultirange", "tsmultirange", "tstzmultirange"),
        ),
        Gives.TEXT,
        "int4range(1, NULL)",
        "[1,)",
        "`lower(v)` and `upper(v)` are what the range is of",
        str,
    ),
    Row(
        ("record",),
        Gives.LIST,
        "row(1, NULL, 'a')",
        ["1", None, "a"],
        "each a string, or null. A composite type of your own is a string: select its fields",
    ),
    Row(("void",), Gives.TEXT, "pg_sleep(0)", ""),
)
"""By name; a domain is what it is made of."""
BEYOND: tuple[tuple[str, str], ...] = (
    ("an array of one of these", "list of what the elements are"),
    ("a domain", "what its base type is"),
    ("NULL, of any type", "null, with which only `==` and `!=` work: `v == null`"),
    ("any other type, or an array of one (of an extension, your own)", "string, as PostgreSQL writes it"),
)
"""What is in no row, for the docs."""


def is_of(gives: Gives, value: Any) -> bool:
    """Tell whether a value has the type that an expression was promised."""
    match gives:
        case Gives.BOOL:
            return isinstance(value, bool)
        case Gives.INT:
            return isinstance(value, int) and not isinstance(value, bool)
        case Gives.DOUBLE:
            return isinstance(value, float)
        case Gives.LIST:
            return isinstance(value, list)
        case Gives.JSON:
            return True
        case _:
            return isinstance(value, str)


def bind(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as psycopg binds them: lists as arrays, objects as jsonb. Raises `SqlError` (UNBOUND)."""
    return {name: _bindable(f"params.{name}", value) for name, value in params.items()}


def _bindable(where: str, value: Any) -> Any:
    _check_text(where, value)
    if isinstance(value, Mapping):
        return Jsonb(value)
    if isinstance(value, list | tuple):
        return [Jsonb(item) if isinstance(item, Mapping) else item for item in value]
    return value


def _check_text(where: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for name, item in value.items():
            _check_text(f"{where}.{name}", name)
            _check_text(f"{where}.{name}", item)
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_text(f"{where}[{index}]", item)
    if isinstance(value, str):
        _check_characters(where, value)


def _check_characters(where: str, text: str) -> None:
    if "\0" in text:
        raise SqlError(Fault.UNBOUND, f"{where!r}: holds a NUL character, which PostgreSQL cannot store in a text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SqlError(Fault.UNBOUND, f"{where!r}: holds half of a surrogate pair, which is not Unicode text") from None


def plain(value: Any) -> Any:
    """Return a loaded column value as plain JSON, but for numbers that are not finite: tuples as lists, anything exotic as its text."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if value is None or isinstance(value, str | int | float | dict):
        return value
    return str(value)


def stored(rows: list[dict[str, Any]]) -> bytes:
    """Return rows as JSON for a `jsonb`: a `numeric` with all its digits, what is beyond a double as its text."""
    return orjson.dumps(rows, default=_exact)


def _exact(value: Any) -> Any:
    if not isinstance(value, Number):
        raise TypeError(f"a {type(value).__name__} is not JSON")
    # what is beyond a double is a number to PostgreSQL, and to no reader of JSON here
    return orjson.Fragment(value.text) if math.isfinite(value) else value.text


@cache
def _loader(read: Callable[[str], Any]) -> type[Loader]:
    """Return the loader that reads the server's text so."""

    class Reading(Loader):
        def load(self, data: Buffer) -> Any:
            return read(bytes(data).decode())

    return Reading


def register(connection: psycopg.AsyncConnection[Any]) -> None:
    """Make a connection load columns as the table of types says."""
    for row in TABLE:
        if row.read is not None:
            for name in row.types:
                connection.adapters.register_loader(name, _loader(row.read))


_CHUNK = 64 * 1024
GREETING_BYTES = 1024 * 1024
"""Of what comes until a connection is open: certificates and settings, which take some kilobytes."""
_END_SECONDS = 1.0
"""How long libpq's farewell may take to reach the server."""


class Line:
    """Both directions of one connection."""

    def __init__(self, server: socket.socket, client: socket.socket) -> None:
        self._server = server
        self._client = client
        self._left: int | None = None
        self.exceeded = False
        """Whether it was cut because more came than was allowed."""
        self._pumps = [
            asyncio.create_task(self._pump(server, client, counted=True)),
            asyncio.create_task(self._pump(client, server, counted=False)),
        ]

    @classmethod
    def of(cls, descriptor: int) -> "Line":
        """Return a line that stands between the socket of a connection, which is open and idle, and whoever reads from it."""
        server = socket.socket(fileno=os.dup(descriptor))
        ours, theirs = socket.socketpair()
        with theirs:
            for each in (server, ours, theirs):
                each.setblocking(False)
            os.dup2(theirs.fileno(), descriptor, inheritable=False)
        return cls(server, ours)

    def allow(self, most: int | None) -> None:
        """Let so many more bytes come; None lets all come."""
        self._left = most

    async def close(self) -> None:
        """Let what was sent reach the server, and close it."""
        await asyncio.wait(self._pumps, timeout=_END_SECONDS)
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        self._server.close()
        self._client.close()

    async def _pump(self, source: socket.socket, sink: socket.socket, *, counted: bool) -> None:
        loop = asyncio.get_running_loop()
        try:
            with suppress(OSError):
                while data := await loop.sock_recv(source, _CHUNK):
                    if counted and not self._may_come(len(data)):
                        break
                    await loop.sock_sendall(sink, data)
        finally:
            for each in (self._client, self._server):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _may_come(self, count: int) -> bool:
        if self._left is not None:
            self._left -= count
            self.exceeded = self._left < 0
        return not self.exceeded


class Lines:
    """The lines of one connection while it is opened, for libpq may try again without encryption: the last one is in use."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._known = -1

    @property
    def exceeded(self) -> bool:
        """Whether more came than a greeting may have."""
        return any(line.exceeded for line in self._lines)

    def last(self) -> Line:
        """Return the line of the connection that is open now, to be closed by whoever asks for it."""
        return self._lines.pop()

    async def close(self) -> None:
        """Close those that nobody asked for."""
        for line in self._lines:
            await line.close()

    def stand_between(self, descriptor: int) -> None:
        """Put a line between a socket and its reader, unless one is there or the socket is not connected yet."""
        if os.fstat(descriptor).st_ino == self._known or not _is_connected(descriptor):
            return
        line = Line.of(descriptor)
        line.allow(GREETING_BYTES)
        self._lines.append(line)
        self._known = os.fstat(descriptor).st_ino

    def connection(self) -> type[psycopg.AsyncConnection[Any]]:
        """Return the class of connections that have their lines from here."""
        lines = self

        class Connection(psycopg.AsyncConnection[Any]):
            @classmethod
            def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Any]:
                return lines._bounded(super()._connect_gen(conninfo))

        return Connection

    def _bounded(self, opening: Generator[Any, Any, Any]) -> PQGenConn[Any]:
        """Go through the steps of opening a connection; before each one that may read, its line is there."""
        try:
            descriptor, wanted = next(opening)
            while True:
                ready = yield descriptor, wanted
                self.stand_between(descriptor)
                descriptor, wanted = opening.send(ready)
        except StopIteration as opened:
            return opened.value


def _is_connected(descriptor: int) -> bool:
    with socket.socket(fileno=os.dup(descriptor)) as same:
        try:
            same.getpeername()
        except OSError:
            return False
        return True
