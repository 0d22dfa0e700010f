"""Where watch events arrive: notes what changed in the indexes, and wakes what has to look."""

from dataclasses import dataclass, field

from incident_operator.api.annotations import Verb
from incident_operator.api.incident import CLOSED_PHASES, Phase
from incident_operator.api.meta import ObjectKey, Severity, rfc3339
from incident_operator.core.outcomes import Json
from incident_operator.engine.counts import Counts
from incident_operator.engine.expectations import Ending, Expectations
from incident_operator.engine.in_flight import InFlight
from incident_operator.engine.probe_results import ConnectionUsers
from incident_operator.engine.work_queue import WorkQueue
from incident_operator.receiver.index import IncidentIndex
from incident_operator.receiver.runbooks import RunbookIndex

_SETTLE_SECONDS = 10.0
"""How long the counts of a Runbook may lag, so that a storm of Incidents costs few writes."""


@dataclass(frozen=True, slots=True)
class Inbox:
    """Takes events of all kinds. Every method returns at once."""

    incidents: WorkQueue
    runbooks: WorkQueue
    incident_index: IncidentIndex
    runbook_index: RunbookIndex
    counts: Counts
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
