"""Open Incidents as they change: from the apiserver's watch into the inbox.

Closed Incidents are not watched, so they cost nothing. One that leaves the watch was closed or deleted; which of the two is
known where this process closed it itself, and asked of the apiserver otherwise.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

from incident_operator.api.incident import CLOSED_PHASES
from incident_operator.clients import kube, paths
from incident_operator.clients.heads import Head
from incident_operator.clients.reads import Reads
from incident_operator.clients.watching import Pace, Watch
from incident_operator.engine.driver import Driver
from incident_operator.engine.keys import Key
from incident_operator.inbox import Inbox

OPEN = ",".join(f"status.phase!={phase.value}" for phase in sorted(CLOSED_PHASES))
"""The field selector of open Incidents."""
_SETTLE_SECONDS = 0.3
"""The event of our own closing write can come before the answer to it."""


class IncidentFeed:
    """One watch of all namespaces, or one for each that is served. Runs on every replica, so that each knows what is open."""

    def __init__(
        self,
        client: kube.Kube,
        reads: Reads,
        inbox: Inbox,
        namespaces: tuple[str, ...],
        clock: Callable[[], datetime],
        pace: Pace | None = None,
    ) -> None:
        self._kube = client
        self._inbox = inbox
        self._departed: dict[Key, Head] = {}
        self._departures = Driver(self._look, clock, workers=4, what="Departed Incident")
        self._watches = [Watch(reads, paths.incidents(each), self, OPEN, pace) for each in namespaces or (None,)]

    async def start(self) -> None:
        """Read all that is open, once. Raises `ApiError`."""
        for watch in self._watches:
            await watch.start()

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._departures.run())
            for watch in self._watches:
                tasks.create_task(watch.run())

    def seen(self, incident: Head) -> None:
        """Hand an Incident on."""
        self._inbox.incident(incident)

    def left(self, incident: Head) -> None:
        """Tell closed from gone, at once if this process closed it, else by asking a moment later."""
        if self._inbox.incident_closed(incident):
            return
        key = Key(incident["metadata"]["namespace"], incident["metadata"]["name"])
        self._departed[key] = incident
        self._departures.add_later(key, _SETTLE_SECONDS)

    async def _look(self, key: Key) -> None:
        incident = self._departed.get(key)
        if incident is None or self._inbox.incident_closed(incident):
            self._departed.pop(key, None)
            return
        try:
            self._inbox.incident(await self._kube.get(paths.incidents(*key)))
        except kube.NotFound:
            self._inbox.incident_gone(incident)
        if self._departed.get(key) is incident:
            del self._departed[key]
