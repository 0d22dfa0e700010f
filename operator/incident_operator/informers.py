"""Open Incidents and all Runbooks as they change: from the apiserver's lists and watches into the inbox. On every replica.

Both hold free JSON, so they come by our own reflector, which decodes each object by itself; kopf, which watches the typed
Connections, decodes a page or a line whole, and its watch can fall silent for ever, and an approval cannot wait for that. The inbox notes
in the indexes what changed, and wakes what has to look.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import msgspec

from incident_operator.api.incident import CLOSED_PHASES, Phase, Verb
from incident_operator.api.meta import ObjectKey, Severity, rfc3339
from incident_operator.core.outcomes import Json
from incident_operator.engine.executor import InFlight
from incident_operator.engine.metrics import IncidentCounts
from incident_operator.engine.readiness import ConnectionUsers
from incident_operator.engine.recorder import Ending, Expectations
from incident_operator.engine.work_queue import WorkQueue
from incident_operator.engine.workers import Workers
from incident_operator.kubernetes import apiserver, discovery
from incident_operator.kubernetes.apiserver import Reads
from incident_operator.kubernetes.discovery import Scopes
from incident_operator.kubernetes.partial_objects import PartialIncident, PartialRunbook
from incident_operator.kubernetes.reflector import Pace, Reflector
from incident_operator.receiver.index import IncidentIndex
from incident_operator.receiver.routing import RunbookIndex

_SETTLE_SECONDS = 10.0
"""How long the counts of a Runbook may lag, so that a storm of Incidents costs few writes."""


@dataclass(frozen=True, slots=True)
class Inbox:
    """Takes events of all kinds. Every method returns at once."""

    incidents: WorkQueue
    runbooks: WorkQueue
    incident_index: IncidentIndex
    runbook_index: RunbookIndex
    counts: IncidentCounts
    expectations: Expectations
    in_flight: InFlight = field(default_factory=InFlight)
    connection_users: ConnectionUsers = field(default_factory=ConnectionUsers)
    _runbooks: dict[ObjectKey, tuple[int, str]] = field(default_factory=dict)
    """The newest version that was seen of each Runbook, and its uid."""
    _edited: set[ObjectKey] = field(default_factory=set)
    """Runbooks that were edited, and are not checked yet."""
    _connections: dict[ObjectKey, tuple[str, int]] = field(default_factory=dict)
    """The uid and generation of each Connection as last seen."""

    def newest(self) -> int:
        """Return the newest version of any Incident that this process knows, from its own writes too."""
        return max(self.incident_index.newest, self.expectations.newest)

    def incident(self, body: Json) -> None:
        """Note an Incident, and have it reconciled unless a reconciliation knows that state. ValueError where it cannot be read."""
        key, version = _key(body), body["metadata"]["resourceVersion"]
        closed = Phase((body.get("status") or {}).get("phase") or Phase.PENDING) in CLOSED_PHASES
        severity = Severity((body.get("spec") or {}).get("severity") or Severity.P2).value
        known = self.expectations.is_expected(key, version)
        if known and not closed and not self.counts.is_open(key):
            return  # an answer that was overtaken: it closed in the meantime
        self.incident_index.note(body)
        self._recount(self.counts.note(key, body))
        if closed:
            self.incidents.forget(key)
            return
        if not known:
            if Verb.ABORT.annotation in (body["metadata"].get("annotations") or {}):
                self.in_flight.abort_came(key)
            self.incidents.add(key, severity, lambda: not self.expectations.is_expected(key, version))

    def incident_closed(self, body: Json) -> bool:
        """Note that an Incident left the open ones because this process closed it; False if it did not."""
        ending = self.expectations.ending(_key(body), body["metadata"]["resourceVersion"])
        if ending is None or "spec" not in body:
            return False
        self.incident(_ended(body, ending))
        return True

    def incident_gone(self, body: Json) -> None:
        """Forget a deleted Incident."""
        key = _key(body)
        self.incident_index.forget(body)
        self._recount(self.counts.forget(key))
        self.incidents.forget(key)
        self.expectations.forget(key)

    def runbook(self, body: Json) -> None:
        """Note a Runbook; one that is new, here or there, is checked, and Incidents that may have waited look again."""
        key, version, uid = _key(body), int(body["metadata"]["resourceVersion"]), body["metadata"].get("uid", "")
        seen, of = self._runbooks.get(key, (None, uid))
        if seen is not None and version <= seen:
            return  # a list tells again what the watch told
        if uid != of:
            self.incident_index.forget_closed(key.namespace)  # made again, and maybe its namespace with it
        self._runbooks[key] = version, uid
        self.runbook_index.note(body)
        current = body.get("status", {}).get("observedGeneration") == body["metadata"]["generation"]
        if current and seen is not None:
            if key in self._edited:  # what is checked is known: whoever is asked may be told that it is another version
                self._edited.discard(key)
                self._wake_users(key)
            return
        self.runbooks.add(key)
        if not current:
            self._edited.add(key)
            self._wake_users(key)

    def runbook_gone(self, body: Json) -> None:
        """Forget a deleted Runbook. Its namespace may go too, and with it Incidents that are closed, which are not watched."""
        self.runbook_index.forget(body)
        self.incident_index.forget_closed(_key(body).namespace)
        self._runbooks.pop(_key(body), None)
        self._edited.discard(_key(body))
        self.runbooks.forget(_key(body))
        self.connection_users.forget(_key(body))

    def connection(self, body: Json) -> None:
        """Look again at what may use a Connection; its status is our own writing and changes nothing."""
        key, seen = _key(body), (body["metadata"].get("uid", ""), body["metadata"]["generation"])
        if self._connections.get(key) == seen:
            return
        self._connections[key] = seen
        self._look_again(key.namespace)

    def connection_gone(self, body: Json) -> None:
        """Look again at what may have used a deleted Connection."""
        self._connections.pop(_key(body), None)
        self._look_again(_key(body).namespace)

    def _look_again(self, namespace: str) -> None:
        for key in self._runbooks:
            if key.namespace == namespace:
                self.runbooks.add_later(key, 1.0)
                self._wake_users(key)

    def _recount(self, runbook: ObjectKey | None) -> None:
        if runbook is not None:
            self.runbooks.add_later(runbook, _SETTLE_SECONDS)

    def _wake_users(self, runbook: ObjectKey) -> None:
        for name in self.counts.open_names(runbook):
            self.incidents.add(ObjectKey(runbook.namespace, name))


def _ended(body: Json, ending: Ending) -> Json:
    times = {"resolved": rfc3339(ending.at)} if ending.at else {}
    return {**body, "status": {"phase": ending.phase.value, "times": times}}


def _key(body: Json) -> ObjectKey:
    return ObjectKey(body["metadata"]["namespace"], body["metadata"]["name"])


OPEN = ",".join(f"status.phase!={phase.value}" for phase in sorted(CLOSED_PHASES))
"""The field selector of open Incidents."""
_WATCH_SETTLE_SECONDS = 0.3
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
        client: apiserver.Kube,
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
            Reflector(reads, discovery.incidents(each), self, _INCIDENT, selector=OPEN, pace=pace, newest=inbox.newest)
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
        self._departures.add_later(key, _WATCH_SETTLE_SECONDS)

    async def _look(self, key: ObjectKey) -> None:
        incident = self._departed.get(key)
        if incident is None or self._inbox.incident_closed(incident):
            self._departed.pop(key, None)
            return
        try:
            self._inbox.incident(await self._kube.get(discovery.incidents(*key)))
        except apiserver.NotFound:
            self._inbox.incident_gone(incident)
        if self._departed.get(key) is incident:
            del self._departed[key]


class RunbookInformer:
    """One watch of all namespaces, or one for each that is served; none where nothing is."""

    def __init__(self, reads: Reads, inbox: Inbox, namespaces: Scopes, pace: Pace | None = None) -> None:
        self._inbox = inbox
        self._reflectors = [
            Reflector(reads, discovery.runbooks(each), self, _RUNBOOK, pace=pace) for each in namespaces
        ]

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
