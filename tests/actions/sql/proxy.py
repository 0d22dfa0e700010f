"""A TCP proxy before PostgreSQL's socket that breaks or freezes the line at a chosen message."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto


class Trouble(Enum):
    """What happens when the client sends the chosen bytes."""

    LOST = auto()
    """The server never gets them; both ends see the connection die."""
    REPLY_LOST = auto()
    """The server gets them and answers; the client sees the connection die instead."""
    SERVER_LOST = auto()
    """The server gets them and its answer is lost; the client is told so, by a proxy that keeps the line to it."""
    HELD = auto()
    """The server gets them when the proxy lets go of them, and all goes on as if nothing had been."""
    FROZEN = auto()
    """Nothing moves any more, and nobody is told."""


SERVER_CRASHED = b"SFATAL\0VFATAL\0C08P01\0Mserver conn crashed?\0\0"


@dataclass
class Proxy:
    socket_path: str
    trigger: bytes
    trouble: Trouble
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the chosen bytes have come."""
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(self.socket_path)
        answers = asyncio.create_task(self._answers(from_server, writer))
        try:
            while data := await reader.read(65536):
                if self.trigger in data and self.trouble is Trouble.HELD:
                    self.held.set()
                    await self.let_go.wait()
                elif self.trigger in data:
                    await self._strike(answers, writer, to_server, data)
                    break
                to_server.write(data)
        except ConnectionError:
            pass
        finally:
            answers.cancel()
            for end in (writer, to_server):
                end.close()

    async def _strike(
        self, answers: asyncio.Task[None], writer: asyncio.StreamWriter, to_server: asyncio.StreamWriter, data: bytes
    ) -> None:
        answers.cancel()
        if self.trouble is Trouble.FROZEN:
            await asyncio.sleep(3600)
        if self.trouble in {Trouble.REPLY_LOST, Trouble.SERVER_LOST}:
            to_server.write(data)
            await to_server.drain()
        if self.trouble is Trouble.SERVER_LOST:
            writer.write(b"E" + struct.pack("!i", 4 + len(SERVER_CRASHED)) + SERVER_CRASHED)
            writer.write(b"Z" + struct.pack("!ic", 5, b"I"))
            await asyncio.sleep(3600)

    async def _answers(self, from_server: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await from_server.read(65536):
            writer.write(data)
        writer.close()


@asynccontextmanager
async def proxy(folder: str, trigger: bytes, trouble: Trouble) -> AsyncIterator[int]:
    """Yield the port of a proxy to the server whose socket is in `folder`."""
    async with listening(Proxy(f"{folder}/.s.PGSQL.5432", trigger, trouble).serve) as port:
        yield port


@asynccontextmanager
async def holding(folder: str, trigger: bytes) -> AsyncIterator[tuple[int, Proxy]]:
    """Yield the port of a proxy that holds the chosen bytes back, and the proxy."""
    made = Proxy(f"{folder}/.s.PGSQL.5432", trigger, Trouble.HELD)
    async with listening(made.serve) as port:
        yield port, made


@asynccontextmanager
async def listening(serve) -> AsyncIterator[int]:
    """Yield the loopback port at which `serve` answers; its tasks end with the block."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept, read, never answer."""
    while await reader.read(65536):
        pass
