"""The TCP proxy before PostgreSQL: counts the writes of sessions that write, and breaks the line at a chosen one.

It reads as much of the wire protocol as that takes: messages are grouped into units that end with Sync or are a simple
query, each of which the server answers up to ReadyForQuery.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from proofs.faults.apiserver import Plot
from proofs.faults.troubles import BETWEEN, LATE, Fault
from tests.actions.sql.proxy import listening

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Ends]]
_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_COUNTED = re.compile(rb"\s*(INSERT|UPDATE|DELETE|COMMIT)\b\s*((?:INTO|FROM)?\s*[\w.]*)", re.IGNORECASE)
_READY = re.compile(rb"Z\x00\x00\x00\x05[ITE]$")
_IN_FAILED, _IDLE = b"Z\x00\x00\x00\x05E", b"Z\x00\x00\x00\x05I"
COMMIT = "COMMIT"


@dataclass
class SqlLine:
    """One way to one server; `plot` is changed between runs."""

    connect: Connect
    plot: Plot = field(default_factory=Plot)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        from_server, to_server = await self.connect()
        session = _Session(self, reader, writer, from_server, to_server)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await session.carry()
        for end in (writer, to_server):
            end.close()


@asynccontextmanager
async def opened(line: SqlLine) -> AsyncIterator[SqlLine]:
    """Listen on loopback for as long as the block lasts."""
    async with listening(line.serve) as line.port:
        yield line


def kind_of(statement: bytes) -> str | None:
    """Return how a statement is counted, e.g. `UPDATE counter`; None for what writes nothing."""
    found = _COUNTED.match(statement)
    if found is None:
        return None
    verb, rest = (part.decode().upper() if number == 0 else part.decode() for number, part in enumerate(found.groups()))
    return COMMIT if verb == COMMIT else " ".join([verb, *rest.split()])


class _Session:
    """One connection of a client."""

    def __init__(
        self,
        line: SqlLine,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._line, self._reader, self._writer = line, reader, writer
        self._from_server, self._to_server = from_server, to_server
        self._statements: dict[bytes, bytes] = {}
        self._wrote = False
        self._swallowed = b""
        self._swallowing = False
        self._ready = asyncio.Event()

    async def carry(self) -> None:
        await self._start()
        answers = asyncio.create_task(self._answers())
        try:
            while await self._unit():
                pass
        finally:
            answers.cancel()

    async def _start(self) -> None:
        while True:
            head = await self._reader.readexactly(8)
            length, code = int.from_bytes(head[:4]), int.from_bytes(head[4:])
            if code not in {_SSL_REQUEST, _GSS_REQUEST}:
                self._to_server.write(head + await self._reader.readexactly(length - 8))
                return
            self._writer.write(b"N")

    async def _unit(self) -> bool:
        """Carry one unit; False where the connection is at its end."""
        unit, statement = b"", b""
        while True:
            head = await self._reader.readexactly(5)
            body = await self._reader.readexactly(int.from_bytes(head[1:]) - 4)
            unit += head + body
            statement = self._statement(head[:1], body) or statement
            if head[:1] in {b"S", b"Q", b"p", b"H", b"X"}:
                break
        fault = self._fault(statement)
        if fault is Fault.NONE:
            self._to_server.write(unit)
            await self._to_server.drain()
            return True
        return await self._spring(fault, unit, statement)

    def _statement(self, kind: bytes, body: bytes) -> bytes:
        """Return the text that a message runs; empty for one that runs nothing."""
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._statements[name] = text
            return b""
        if kind == b"B":
            return self._statements.get(body.split(b"\0", 2)[1], b"")
        return body.rstrip(b"\0") if kind == b"Q" else b""

    def _fault(self, statement: bytes) -> Fault:
        kind = kind_of(statement)
        self._wrote = self._wrote or kind not in {None, COMMIT}
        if not self._wrote or kind is None:
            return Fault.NONE
        return self._line.plot.switch.at(f"SQL {kind}")

    async def _spring(self, fault: Fault, unit: bytes, statement: bytes) -> bool:
        plot = self._line.plot
        if fault is Fault.KILL_BEFORE or fault in BETWEEN:
            await plot.kill()
            return False
        if fault in LATE:
            await plot.kill()
            await plot.looked.wait()  # the server learns nothing of the client's end, and keeps the transaction open
            try:
                await self._apply(unit)
            finally:
                plot.arrived.set()
            return False
        match fault:
            case Fault.SQL_CUT_BEFORE:
                return False
            case Fault.SQL_CUT_AFTER:
                await self._apply(unit)
                return False
            case Fault.KILL_AFTER:
                await self._apply(unit)
                await plot.kill()
                return False
            case Fault.SQL_HANGS:
                await self._reader.read()  # until the client gives up; nothing of it arrives
                return False
            case Fault.SQL_SERIALIZATION:
                await self._fail(statement)
                return True
        raise ValueError(fault)

    async def _apply(self, unit: bytes) -> None:
        """Send it on, and keep the answer."""
        self._swallowing, self._swallowed = True, b""
        if self._from_server.at_eof():
            return
        self._ready.clear()
        self._to_server.write(unit)
        await self._to_server.drain()
        async with asyncio.timeout(10):
            await self._ready.wait()
        self._swallowing = False

    async def _fail(self, statement: bytes) -> None:
        """Answer as a server that cannot serialize; the transaction is really rolled back."""
        state = _IN_FAILED
        if kind_of(statement) == COMMIT:
            await self._apply(b"Q" + (13).to_bytes(4) + b"ROLLBACK\0")
            state = _IDLE
        fields = b"SERROR\0VERROR\0C40001\0Mcould not serialize access due to concurrent update\0\0"
        self._writer.write(b"E" + (len(fields) + 4).to_bytes(4) + fields + state)

    async def _answers(self) -> None:
        while data := await self._from_server.read(65536):
            if not self._swallowing:
                self._writer.write(data)
                continue
            self._swallowed += data
            if _READY.search(self._swallowed):
                self._ready.set()
        self._ready.set()  # a server that hung up answers nothing any more
        self._writer.close()
