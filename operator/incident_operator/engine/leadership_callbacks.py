"""What only the process that leads does: its queues work, and its callbacks run, from a term's begin to its end."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from incident_operator.engine.work_queue import WorkQueue

Callback = Callable[[], Awaitable[None]]
"""Something that goes on for as long as this process leads; it is cancelled at the end of the term."""
_log = structlog.get_logger()


class LeaderCallbacks:
    """Begins and ends terms. Everything is begun anew each time: nothing is taken over from an earlier term."""

    def __init__(self, pause: float = 10.0) -> None:
        self.queues: list[WorkQueue] = []
        self.callbacks: list[Callback] = []
        self._pause = pause
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Resume every queue, and start every callback."""
        for queue in self.queues:
            queue.resume()
        for callback in self.callbacks:
            task = asyncio.create_task(self._keep(callback))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def end(self) -> None:
        """Begin nothing more; an act that is under way goes on to its end."""
        for queue in self.queues:
            queue.pause()
        for task in self._tasks:
            task.cancel()

    async def _keep(self, callback: Callback) -> None:
        while True:
            try:
                return await callback()
            except Exception:  # noqa: BLE001 # a defect of one callback must not end the others
                _log.exception("A callback of the leader failed")
                await asyncio.sleep(self._pause)
