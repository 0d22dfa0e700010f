"""What only the process that leads does: its drivers visit, and its duties run, from a term's begin to its end."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from incident_operator.engine.driver import Driver

Duty = Callable[[], Awaitable[None]]
"""Something that goes on for as long as this process leads; it is cancelled at the end of the term."""
_log = structlog.get_logger()


class Leading:
    """Begins and ends terms. Everything is begun anew each time: nothing is taken over from an earlier term."""

    def __init__(self, pause: float = 10.0) -> None:
        self.drivers: list[Driver] = []
        self.duties: list[Duty] = []
        self._pause = pause
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Start to visit, and every duty."""
        for driver in self.drivers:
            driver.start()
        for duty in self.duties:
            task = asyncio.create_task(self._keep(duty))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def end(self) -> None:
        """Begin nothing more; an act that is under way goes on to its end."""
        for driver in self.drivers:
            driver.rest()
        for task in self._tasks:
            task.cancel()

    async def _keep(self, duty: Duty) -> None:
        while True:
            try:
                return await duty()
            except Exception:  # noqa: BLE001 # a defect of one duty must not end the others
                _log.exception("A duty of the leader failed")
                await asyncio.sleep(self._pause)
