"""Open Incidents and all Runbooks as they change: from the apiserver's lists and watches into the inbox. On every replica.

Both hold free JSON, so they come by our own reflector, which decodes each object by itself; kopf, which watches the typed
Connections, decodes a page or a line whole, and its watch can fall silent for ever, and an approval cannot wait for that.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Protocol

import msgspec

from incident_operator.api.incident import CLOSED_PHASES
from incident_operator.api.meta import ObjectKey
from incident_operator.clients import kube, paths
from incident_operator.clients.partial_objects import PartialIncident, PartialRunbook
from incident_operator.clients.reads import Reads
from incident_operator.clients.reflector import Pace, Reflector
from incident_operator.clients.scopes import Scopes
from incident_operator.engine.work_queue import WorkQueue
from incident_operator.engine.workers import Workers
from incident_operator.inbox import Inbox

OPEN = ",".join(f"status.phase!={phase.value}" for phase in sorted(CLOSED_PHASES))
"""The field selector of open Incidents."""
_SETTLE_SECONDS = 0.3
"""The event of our own closing write can come before the answer to it."""
_INCIDENT, _RUNBOOK = msgspec.json.Decoder(PartialIncident), msgspec.json.Decoder(PartialRunbook)


class Informer(Protocol):
    """Tells the inbox of one kind."""

    async def start(self) -> None:
        """Read all that there is, once. Raises `ApiError`."""
        ...

    async def run(self) -> None:
        """Follow until cancelled."""
        ...


class IncidentInformer:
    """One watch of all namespaces, or one for each that is served; none where nothing is.

    Closed Incidents are not watched, so they cost nothing. One that leaves the watch was closed or deleted; which of the two
    is known where this process closed it itself, and asked of the apiserver otherwise.
    """

    def __init__(
        self,
        client: kube.Kube,
        reads: Reads,
        inbox: Inbox,
        namespaces: Scopes,
        clock: Callable[[], datetime],
        pace: Pace | None = None,
    ) -> None:
        self._kube = client
        self._inbox = inbox
        self._departed: dict[ObjectKey, PartialIncident] = {}
        self._departures = WorkQueue(self._look, clock, Workers(size=4), what="Departed Incident")
        self._reflectors = [
            Reflector(reads, paths.incidents(each), self, _INCIDENT, selector=OPEN, pace=pace, newest=inbox.newest)
            for each in namespaces
        ]

    async def start(self) -> None:
        """Read all that is open, once. Raises `ApiError`."""
        for reflector in self._reflectors:
            await reflector.start()

    async def run(self) -> None:
        """Follow until cancelled."""
        await _together(self._departures.run, *(reflector.run for reflector in self._reflectors))

    def seen(self, incident: PartialIncident) -> None:
        """Hand an Incident on."""
        self._inbox.incident(incident)

    def left(self, incident: PartialIncident) -> None:
        """Tell closed from gone, at once if this process closed it, else by asking a moment later."""
        if self._inbox.incident_closed(incident):
            return
        key = ObjectKey(incident["metadata"]["namespace"], incident["metadata"]["name"])
        self._departed[key] = incident
        self._departures.add_later(key, _SETTLE_SECONDS)

    async def _look(self, key: ObjectKey) -> None:
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


class RunbookInformer:
    """One watch of all namespaces, or one for each that is served; none where nothing is."""

    def __init__(self, reads: Reads, inbox: Inbox, namespaces: Scopes, pace: Pace | None = None) -> None:
        self._inbox = inbox
        self._reflectors = [Reflector(reads, paths.runbooks(each), self, _RUNBOOK, pace=pace) for each in namespaces]

    async def start(self) -> None:
        """Read all that there are, once. Raises `ApiError`."""
        for reflector in self._reflectors:
            await reflector.start()

    async def run(self) -> None:
        """Follow until cancelled."""
        await _together(*(reflector.run for reflector in self._reflectors))

    def seen(self, runbook: PartialRunbook) -> None:
        """Hand a Runbook on."""
        self._inbox.runbook(runbook)

    def left(self, runbook: PartialRunbook) -> None:
        """Hand on that it is gone."""
        self._inbox.runbook_gone(runbook)


async def _together(*runs: Callable[[], Coroutine[Any, Any, None]]) -> None:
    if not runs:
        await asyncio.Event().wait()  # nothing is followed, and that it ended would be told as a failure
    async with asyncio.TaskGroup() as tasks:
        for run in runs:
            tasks.create_task(run())
