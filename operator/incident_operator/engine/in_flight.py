"""Which Incidents have an act under way, and which were aborted while something is done for them."""

import asyncio

from incident_operator.api.meta import ObjectKey


class InFlight:
    """Counts the acts whose outcome is not recorded yet, so that a process that ends can wait for exactly these.

    Beside them it keeps whether an abort was seen while its Incident is worked on: whoever works on it listens.
    """

    def __init__(self) -> None:
        self._keys: set[ObjectKey] = set()
        self._aborts: dict[ObjectKey, asyncio.Event] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def listen(self, key: ObjectKey) -> None:
        """Keep an abort that comes from now on, until whoever works on the Incident asks for it, or leaves."""
        self._aborts.setdefault(key, asyncio.Event())

    def enter(self, key: ObjectKey) -> None:
        """Note that an act is about to begin."""
        self._keys.add(key)
        self._idle.clear()

    def leave(self, key: ObjectKey) -> None:
        """Note that what was begun is recorded, or given up, and that nobody listens any more."""
        self._aborts.pop(key, None)
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
        if key in self._aborts:
            self._aborts[key].set()

    async def abort(self, key: ObjectKey) -> None:
        """Wait until the Incident is aborted; each abort is told once."""
        event = self._aborts.setdefault(key, asyncio.Event())
        await event.wait()
        event.clear()
