"""The line to a PostgreSQL server, of which no more bytes come through at a time than were allowed.

libpq keeps a row, a notice or an error whole, whatever its size, before anybody can look at it. So what the server sends is
counted before libpq has it: its socket is changed for one end of a pair, and what passes between the other end and the server
passes here. Where a statement is answered with more than is allowed, the line is cut; until COMMIT is sent that is a rollback.
It stands there from the first byte on, for a server may send a notice of any size while the connection is opened.
"""

import asyncio
import os
import socket
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.abc import PQGenConn

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
