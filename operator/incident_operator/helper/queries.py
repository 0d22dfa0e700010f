"""Reads queries' results for the operator, several at a time, within a limit of memory for all and of processor time for a row."""

import asyncio
import os
import socket
import threading
from typing import Any

from incident_operator.api.connection import Connection
from incident_operator.clients import helper_process, queries
from incident_operator.clients.sql_errors import Fault, SqlError
from incident_operator.connections import Endpoint
from incident_operator.helper import cap_memory, end_for_memory, start_clock, stop_clock

_LOOK_EVERY = 0.5
"""Seconds between two signs of life; each winds the clock up, which runs while the loop is in the middle of one thing."""
_STACK = 512 * 1024
"""Bytes of a thread's stack, which count as memory: one looks names of hosts up."""


def serve(line: socket.socket) -> None:
    """Answer until the line ends. The first message sets the limits."""
    threading.stack_size(_STACK)
    try:
        asyncio.run(_serve(line))
    except MemoryError:
        end_for_memory()
    except (EOFError, OSError):
        os._exit(0)  # the operator is gone


async def _serve(line: socket.socket) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, told: _end(told.get("exception")))
    reader, writer = await asyncio.open_connection(sock=line)
    hello = await helper_process.received(reader)
    cap_memory(hello["memory"])
    served = _Served(writer, hello["seconds"])
    writer.write(helper_process.encode({"ready": True}))
    while True:
        served.take(await helper_process.received(reader))


class _Served:
    """The queries that are under way."""

    def __init__(self, writer: asyncio.StreamWriter, seconds: float) -> None:
        self._writer = writer
        self._seconds = seconds
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._living: asyncio.Task[None] | None = None

    def take(self, message: dict[str, Any]) -> None:
        """Begin a query, or cut one off."""
        number = message["number"]
        if "cancelled" in message:
            if number in self._tasks:
                self._tasks[number].cancel()
            return
        self._tasks[number] = asyncio.create_task(self._answer(number, message))
        if self._living is None or self._living.done():
            self._living = asyncio.create_task(self._live())

    async def _answer(self, number: int, message: dict[str, Any]) -> None:
        try:
            self._writer.write(helper_process.encode({"number": number, **await self._answered(message)}))
            await self._writer.drain()
        finally:
            del self._tasks[number]

    async def _answered(self, message: dict[str, Any]) -> dict[str, Any]:
        connection = Connection.model_validate(message["connection"])
        query = queries.query_of(message, Endpoint(connection, message["secret"], ""))
        try:
            found = await queries.read_here(query)
        except SqlError as error:
            return {"fault": error.fault.value, "message": error.message}
        except MemoryError:
            return {"fault": Fault.TOO_LARGE.value, "message": "the result takes more memory than a query may"}
        except Exception as error:  # noqa: BLE001 # a defect met by one query must not end the others
            return {"defect": type(error).__name__}
        return {"rows": found.rows, "truncated": found.truncated}

    async def _live(self) -> None:
        while self._tasks:
            start_clock(self._seconds)
            self._writer.write(helper_process.encode({"alive": True}))
            await asyncio.sleep(_LOOK_EVERY)
        stop_clock()


def _end(error: object) -> None:
    """End at once for what nobody awaits: whoever asked would wait for ever."""
    if isinstance(error, MemoryError):
        end_for_memory()
    os._exit(1)
