"""A TCP proxy before PostgreSQL's socket that breaks or freezes the line at a chosen message."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto


class Trouble(Enum):
    """What happens when the client sends the chosen bytes."""

    LOST = auto()
    """The server never gets them; both ends see the connection die."""
    REPLY_LOST = auto()
    """The server gets them and answers; the client sees the connection die instead."""
    FROZEN = auto()
    """Nothing moves any more, and nobody is told."""


@dataclass
class Proxy:
    socket_path: str
    trigger: bytes
    trouble: Trouble
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(self.socket_path)
        answers = asyncio.create_task(self._answers(from_server, writer))
        try:
            while data := await reader.read(65536):
                if self.trigger in data:
                    await self._strike(answers, to_server, data)
                    break
                to_server.write(data)
        except ConnectionError:
            pass
        finally:
            answers.cancel()
            for end in (writer, to_server):
                end.close()

    async def _strike(self, answers: asyncio.Task[None], to_server: asyncio.StreamWriter, data: bytes) -> None:
        answers.cancel()
        if self.trouble is Trouble.FROZEN:
            await asyncio.sleep(3600)
        if self.trouble is Trouble.REPLY_LOST:
            to_server.write(data)
            await to_server.drain()

    async def _answers(self, from_server: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await from_server.read(65536):
            writer.write(data)


@asynccontextmanager
async def proxy(folder: str, trigger: bytes, trouble: Trouble) -> AsyncIterator[int]:
    """Yield the port of a proxy to the server whose socket is in `folder`."""
    made = Proxy(f"{folder}/.s.PGSQL.5432", trigger, trouble)
    async with listening(made.serve) as port:
        yield port


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
