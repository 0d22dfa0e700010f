"""One heap for every moment at which something has to be looked at again; one task watches it."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime

from incident_operator.api.meta import ObjectKey
from incident_operator.engine.steady_clock import steady

_SLACK = 64
"""Moments no longer wanted that the heap may hold beyond twice the wanted ones before it is cleared of them."""
_LONGEST_SLEEP = 60.0
"""Seconds, so that a clock that jumps cannot put everything to sleep."""


class DelayedAdds:
    """Wakes keys at their moments; each key has at most one moment, the newest one set."""

    def __init__(self, clock: Callable[[], datetime], wake: Callable[[ObjectKey], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._heap: list[tuple[datetime, ObjectKey]] = []
        self._at: dict[ObjectKey, datetime] = {}
        self._changed = asyncio.Event()
        self.ticked_at = steady()
        """When the heap was last looked at, by a clock that nobody sets: a liveness probe that cannot lie."""

    def set(self, key: ObjectKey, at: datetime | None) -> None:
        """Wake the key at that moment instead of any moment set before; None forgets it."""
        if at is None:
            self._at.pop(key, None)
            return
        self._at[key] = at
        heapq.heappush(self._heap, (at, key))
        self._drop_unwanted()
        self._changed.set()

    def bring_forward(self, key: ObjectKey, at: datetime) -> None:
        """Wake the key at that moment, unless an earlier one was set before."""
        known = self._at.get(key)
        if known is None or at < known:
            self.set(key, at)

    def clear(self) -> None:
        """Forget every moment."""
        self._heap.clear()
        self._at.clear()

    async def run(self) -> None:
        """Wake keys as their moments come, until cancelled."""
        while True:
            self._wake_due()
            self._changed.clear()
            try:
                async with asyncio.timeout(self._seconds_to_next()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _drop_unwanted(self) -> None:
        if len(self._heap) > 2 * len(self._at) + _SLACK:
            self._heap = [(at, key) for key, at in self._at.items()]
            heapq.heapify(self._heap)

    def _wake_due(self) -> None:
        now, self.ticked_at = self._clock(), steady()
        while self._heap and (self._heap[0][0] <= now or self._is_stale()):
            at, key = heapq.heappop(self._heap)
            if self._at.get(key) == at:
                del self._at[key]
                self._wake(key)

    def _is_stale(self) -> bool:
        at, key = self._heap[0]
        return self._at.get(key) != at

    def _seconds_to_next(self) -> float:
        if not self._heap:
            return _LONGEST_SLEEP
        return min(_LONGEST_SLEEP, max(0.0, (self._heap[0][0] - self._clock()).total_seconds()))
