"""Who may write next: the severest first, first come first served among equals, and a few places that only they get."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from incident_operator.api.meta import Severity
from incident_operator.clients.priority import Priority

_KEPT_OF = 5
"""One place in so many is kept for the severest."""


class PrioritySlots:
    """So many writes at a time."""

    def __init__(self, size: int, priority: Priority) -> None:
        """Write nothing mild while something severe has priority."""
        self._priority = priority
        priority.when_free(self._hand_out)
        self._free = size
        self._kept = size // _KEPT_OF
        self._order = itertools.count()
        self._queue: list[tuple[Severity, int, asyncio.Future[None]]] = []
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many wait for a place: while some do, reconciliations may yield (`must_yield` of the work queue)."""
        return self._waiting

    @asynccontextmanager
    async def taken(self, severity: Severity) -> AsyncIterator[None]:
        """Hold a place for the block; waits until it is this one's turn."""
        with self._priority.held(severity.is_severe):
            if self._may_have(severity):
                self._free -= 1
            else:
                await self._turn(severity)
            try:
                yield
            finally:
                self._give_back()

    def _may_have(self, severity: Severity) -> bool:
        if severity.is_severe:
            return self._free > 0
        return self._free > self._kept and not self._priority.is_held

    async def _turn(self, severity: Severity) -> None:
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (severity, next(self._order), turn))
        self._waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back()
            raise
        finally:
            self._waiting -= 1

    def _give_back(self) -> None:
        self._free += 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self._queue:
            severity, _, turn = self._queue[0]
            if not turn.done():
                if not self._may_have(severity):
                    return
                self._free -= 1
                turn.set_result(None)
            heapq.heappop(self._queue)
