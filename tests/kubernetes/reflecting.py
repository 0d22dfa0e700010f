"""A reflector that runs, and what it told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from incident_operator.kubernetes.access import Access
from incident_operator.kubernetes.apiserver import Reads
from incident_operator.kubernetes.partial_objects import PartialIncident
from incident_operator.kubernetes.reflector import Pace, Reflector

OPEN = "status.phase!=Resolved,status.phase!=Failed"
QUICK = Pace(watch=30.0, slack=0.0, between_lists=600.0, pauses=(0.01, 0.05))
"""Fast to recover, but no sooner than it has to be."""


class Told:
    """Keeps what a watch told, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []
        """(seen or left, name, phase)"""

    def seen(self, incident: PartialIncident) -> None:
        self._keep("seen", incident)
        if incident.get("status", {}).get("phase") == "Dreaming":
            raise ValueError("no such phase")

    def left(self, incident: PartialIncident) -> None:
        self._keep("left", incident)

    def _keep(self, what: str, incident: PartialIncident) -> None:
        self.events.append((what, incident["metadata"]["name"], incident.get("status", {}).get("phase", "")))

    def names(self, what: str = "seen") -> list[str]:
        return [name for kind, name, _ in self.events if kind == what]

    async def until(self, what: str, name: str) -> None:
        """Wait until that was told."""
        await until(lambda: name in self.names(what))


@asynccontextmanager
async def watching(access: Access, path: str, selector: str = OPEN, pace: Pace = QUICK) -> AsyncIterator[Told]:
    """List, and watch for the block's time."""
    told = Told()
    async with Reads(access) as reads:
        reflector = Reflector(reads, path, told, msgspec.json.Decoder(PartialIncident), selector=selector, pace=pace)
        await reflector.start()
        task = asyncio.create_task(reflector.run())
        try:
            yield told
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds, for 10 s at most."""
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)
