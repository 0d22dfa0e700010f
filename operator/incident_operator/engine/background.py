"""Small work off the path: started and not waited for, but finished before the process ends."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from incident_operator.clients.priority import Priority

_log = structlog.get_logger()


class Background:
    """Holds tasks until they are done. None begins while something urgent has priority."""

    def __init__(self, priority: Priority) -> None:
        self._priority = priority
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start work; an error that it does not handle itself is logged."""
        task = asyncio.create_task(self._in_time(work))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def drain(self, seconds: float = 2.0) -> None:
        """Wait for what is under way, in bounded time; what is left then is dropped."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _in_time(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await self._priority.yield_to_urgent(urgent=False)
        except asyncio.CancelledError:
            work.close()
            raise
        await work

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("Work in the background failed", exc_info=error)
