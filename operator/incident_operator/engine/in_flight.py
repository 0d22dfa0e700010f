"""Which Incidents have an act under way, and which were aborted while something is done for them."""

import asyncio
from typing import Any

from incident_operator.api.meta import ObjectKey


class InFlight:
    """Counts the acts whose outcome is not recorded yet, so that a process that ends can wait for exactly these.

    Beside them it keeps whether an abort was seen while its Incident is worked on: whoever works on it listens.
    """

    def __init__(self) -> None:
        self._keys: set[ObjectKey] = set()
        self._aborted: dict[ObjectKey, bool] = {}
        self._waiting: dict[ObjectKey, asyncio.Future[None]] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def listen(self, key: ObjectKey) -> None:
        """Keep an abort that comes from now on, until whoever works on the Incident takes it, or leaves."""
        self._aborted.setdefault(key, False)

    def enter(self, key: ObjectKey) -> None:
        """Note that an act is about to begin."""
        self._keys.add(key)
        self._idle.clear()

    def leave(self, key: ObjectKey) -> None:
        """Note that what was begun is recorded, or given up, and that nobody listens any more."""
        self._aborted.pop(key, None)
        self._keys.discard(key)
        if not self._keys:
            self._idle.set()

    def has(self, key: ObjectKey) -> bool:
        """Tell whether an act of that Incident is under way."""
        return key in self._keys

    async def idle(self) -> None:
        """Wait until no act is under way."""
        await self._idle.wait()

    def abort_came(self, key: ObjectKey) -> None:
        """Tell whoever works on an Incident that it was aborted; where nobody does, the next reconciliation sees it."""
        if key in self._aborted:
            self._aborted[key] = True
            _wake(self._waiting.get(key))

    async def aborted_before(self, key: ObjectKey, work: "asyncio.Future[Any]") -> bool:
        """Wait until the work is done (False), or somebody aborts the Incident, be it at that very moment (True).

        Each abort is told once, and the work goes on. `asyncio.wait` would do as well, at a multiple of the cost.
        """
        self.listen(key)
        if not self._aborted[key] and not work.done():
            woken = self._waiting[key] = asyncio.get_running_loop().create_future()
            work.add_done_callback(lambda _: _wake(woken))
            try:
                await woken
            finally:
                del self._waiting[key]
        aborted, self._aborted[key] = self._aborted[key], False
        return aborted


def _wake(waiting: "asyncio.Future[None] | None") -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
