"""Who goes first: while something severe is under way, what is milder asks the apiserver for nothing new, for a moment.

Places and ranks order what waits; this also stops what has begun, between two of its requests: one process and one
apiserver serve all, so a P0 alert would else share them with every Incident that is being worked on.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

MAX_WRITES = 5
"""Requests to the apiserver at a time, one of them for P0 and P1 only: more only wait there, and a P0 alert with them.

Measured on two cores, in a storm: its first act comes after 2.1 times what it takes alone where four others write, 2.8
where six do, 3.2 at eight, 6 at sixteen; the intake of four and of eight differs by less than its spread.
"""
_LONGEST = 2.0
"""Seconds that it is held, and yielded to, at a time: severe work that takes long, or never ends, starves nobody."""


class Priority:
    """Held by what is severe; what is milder yields."""

    def __init__(self, longest: float = _LONGEST) -> None:
        self._longest = longest
        self._holders = 0
        self._free = asyncio.Event()
        self._free.set()
        self._expiry: asyncio.TimerHandle | None = None
        self._listeners: list[Callable[[], None]] = []

    @property
    def is_held(self) -> bool:
        """Whether something severe is under way, and has been for the first seconds only."""
        return not self._free.is_set()

    def when_free(self, listener: Callable[[], None]) -> None:
        """Call the listener each time that it becomes free."""
        self._listeners.append(listener)

    @contextmanager
    def held(self, severe: bool) -> Iterator[None]:
        """Hold it for the block, together with other holders; what is not severe holds nothing."""
        if not severe:
            yield
            return
        self._holders += 1
        self._begin()
        try:
            yield
        finally:
            self._holders -= 1
            # its reconciliation follows on an alert's storing in this very moment; nothing milder gets between the two
            asyncio.get_running_loop().call_soon(self._end)

    async def yield_to_urgent(self, severe: bool) -> None:
        """Wait until nothing severe is under way, but not for long; what is severe itself goes on at once."""
        if severe or not self.is_held:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._longest):
                while self.is_held:
                    await self._free.wait()

    def _begin(self) -> None:
        if self._holders == 1 and not self.is_held:
            self._free.clear()
            self._expiry = asyncio.get_running_loop().call_later(self._longest, self._release)

    def _end(self) -> None:
        if not self._holders and self.is_held:
            self._release()

    def _release(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self._free.set()
        for listener in self._listeners:
            listener()
