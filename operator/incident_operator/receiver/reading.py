"""Reads long bodies in a thread, one at a time, so that a megabyte of JSON holds nobody else up."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_AT_ONCE = 64 * 1024
"""Bytes that are read on the spot: a few milliseconds, and less than the way to a thread and back where there are few."""
_Read = TypeVar("_Read")
_Body = TypeVar("_Body", bytes, bytearray)


class Reading:
    """Runs readers of bodies; `close` ends its thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reading")

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def read(self, reader: Callable[[_Body], _Read], body: _Body) -> _Read:
        """Return what the reader makes of a body; raises what it raises."""
        if len(body) <= _AT_ONCE:
            return reader(body)
        return await asyncio.get_running_loop().run_in_executor(self._thread, reader, body)
