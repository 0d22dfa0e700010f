"""A bounded number of workers: severest first, one worker per Incident at a time, nothing forgotten."""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress

from incident_operator.api.meta import ObjectKey

Work = Callable[[ObjectKey], Awaitable[None]]
Wanted = Callable[[], bool]
"""Tells, when the work under way is done, whether that has made working once more needless."""
URGENT = 1
"""The mildest rank that never yields: P1."""
_LONGEST_YIELD = 2.0
"""Seconds that a worker yields to alerts that come in; then it goes on, so that a storm starves nobody."""
_LOOK_EVERY = 0.05
_KEPT_OF = 8
"""On top comes one worker in so many that only works on what is urgent: the others may all be in the middle of long work."""


class Workers:
    """Runs `work` for every key that was added, as often as needed and never twice at once for the same key."""

    def __init__(self, work: Work, size: int = 16, must_yield: Callable[[], bool] = lambda: False) -> None:
        self._work = work
        self._must_yield = must_yield
        self._urgent_came = asyncio.Event()
        self._size = size
        self._order = itertools.count()
        self._heap: list[tuple[int, int, ObjectKey]] = []
        self._waiting: set[ObjectKey] = set()
        self._active: set[ObjectKey] = set()
        self._again: dict[ObjectKey, tuple[int, Wanted | None]] = {}
        self._ready = asyncio.Semaphore(0)
        self._urgent_ready = asyncio.Semaphore(0)
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, key: ObjectKey, rank: int, wanted: Wanted | None = None) -> None:
        """Have the key worked on; lower ranks first. A key that is being worked on is worked on once more after.

        If `wanted` is given, that is done only if it is true then; the newest `wanted` of a key speaks for the older ones.
        """
        if key in self._active:
            earlier, other = self._again.get(key, (rank, wanted))
            self._again[key] = (min(rank, earlier), wanted if other is not None else None)
            return
        if key in self._waiting:
            return
        self._waiting.add(key)
        heapq.heappush(self._heap, (rank, next(self._order), key))
        self._ready.release()
        if rank <= URGENT:
            self._urgent_ready.release()
            self._urgent_came.set()

    def clear(self) -> None:
        """Drop what waits; what is being worked on goes on to its end."""
        self._heap.clear()
        self._waiting.clear()
        self._again.clear()

    @property
    def depth(self) -> int:
        """How many keys wait for a worker."""
        return len(self._waiting)

    async def idle(self) -> None:
        """Wait until no worker is in the middle of something."""
        await self._idle.wait()

    async def run(self) -> None:
        """Work until cancelled; an act that is interrupted is taken up again by the next process."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._size):
                workers.create_task(self._worker())
            for _ in range(max(1, self._size // _KEPT_OF)):
                workers.create_task(self._urgent_worker())

    async def _worker(self) -> None:
        while True:
            await self._ready.acquire()
            await self._yield_to_urgent()
            if self._heap:
                await self._work_on_first()

    async def _urgent_worker(self) -> None:
        while True:
            await self._urgent_ready.acquire()
            if self._heap and self._heap[0][0] <= URGENT:
                await self._work_on_first()

    async def _work_on_first(self) -> None:
        _, _, key = heapq.heappop(self._heap)
        self._waiting.discard(key)
        self._active.add(key)
        self._idle.clear()
        try:
            await self._work(key)
        finally:
            self._active.discard(key)
            if not self._active:
                self._idle.set()
            self._repeat(key)

    def _repeat(self, key: ObjectKey) -> None:
        rank, wanted = self._again.pop(key, (None, None))
        if rank is not None and (wanted is None or wanted()):
            self.add(key, rank)

    async def _yield_to_urgent(self) -> None:
        """Wait while something else goes first, but not for long, and not with what is severe."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _LONGEST_YIELD
        while self._heap and self._heap[0][0] > URGENT and self._must_yield() and loop.time() < until:
            self._urgent_came.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._urgent_came.wait()
