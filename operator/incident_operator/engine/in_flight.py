"""Which Incidents have an act under way: begun, and its outcome not recorded yet."""

import asyncio

from incident_operator.api.meta import ObjectKey


class InFlight:
    """Counts them, so that a process that ends can wait for exactly these and for nothing else."""

    def __init__(self) -> None:
        self._keys: set[ObjectKey] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self, key: ObjectKey) -> None:
        """Note that an act is about to begin."""
        self._keys.add(key)
        self._idle.clear()

    def leave(self, key: ObjectKey) -> None:
        """Note that what was begun is recorded, or given up."""
        self._keys.discard(key)
        if not self._keys:
            self._idle.set()

    def has(self, key: ObjectKey) -> bool:
        """Tell whether an act of that Incident is under way."""
        return key in self._keys

    async def idle(self) -> None:
        """Wait until no act is under way."""
        await self._idle.wait()
