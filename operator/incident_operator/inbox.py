"""Where watch events arrive: notes what changed in the indexes, and wakes what has to look."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from incident_operator.api.incident import CLOSED_PHASES, Incident
from incident_operator.engine.driver import Driver
from incident_operator.engine.echoes import Echoes
from incident_operator.engine.keys import Key
from incident_operator.engine.tally import Tally
from incident_operator.receiver.index import IncidentIndex
from incident_operator.receiver.runbooks import RunbookIndex

_SETTLE_SECONDS = 10.0
"""How long the counts of a Runbook may lag, so that a storm of Incidents costs few writes."""
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Inbox:
    """Takes events of all kinds. Every method returns at once."""

    incidents: Driver
    runbooks: Driver
    incident_index: IncidentIndex
    runbook_index: RunbookIndex
    tally: Tally
    echoes: Echoes
    _checked: set[Key] = field(default_factory=set)
    """Runbooks that this process has had checked."""
    _connections: dict[Key, int] = field(default_factory=dict)
    """The generation of each Connection as last seen."""

    def incident(self, body: Json) -> None:
        """Note an Incident, and have it visited unless the event only shows our own write."""
        self.incident_index.note(body)
        incident = Incident.model_validate(body)
        key = _key(body)
        self._recount(self.tally.note(incident))
        if incident.status.phase in CLOSED_PHASES:
            self.incidents.forget(key)
            return
        if not self.echoes.is_echo(key, incident.metadata.resource_version):
            self.incidents.add(key, incident.spec.severity.value)

    def incident_gone(self, body: Json) -> None:
        """Forget a deleted Incident."""
        self.incident_index.forget(body)
        self._recount(self.tally.forget(Incident.model_validate(body)))
        self.incidents.forget(_key(body))
        self.echoes.forget(_key(body))

    def runbook(self, body: Json) -> None:
        """Note a Runbook; one that is new, here or there, is checked, and Incidents that may have waited look again."""
        self.runbook_index.note(body)
        key = _key(body)
        current = body.get("status", {}).get("observedGeneration") == body["metadata"]["generation"]
        if current and key in self._checked:
            return
        self._checked.add(key)
        self.runbooks.add(key)
        if not current:
            self._wake_users(key)

    def runbook_gone(self, body: Json) -> None:
        """Forget a deleted Runbook."""
        self.runbook_index.forget(body)
        self._checked.discard(_key(body))
        self.runbooks.forget(_key(body))

    def connection(self, body: Json) -> None:
        """Look again at what may use a Connection; its status is our own writing and changes nothing."""
        key, generation = _key(body), body["metadata"]["generation"]
        if self._connections.get(key) == generation:
            return
        self._connections[key] = generation
        self._look_again(key.namespace)

    def connection_gone(self, body: Json) -> None:
        """Look again at what may have used a deleted Connection."""
        self._connections.pop(_key(body), None)
        self._look_again(_key(body).namespace)

    def _look_again(self, namespace: str) -> None:
        for key in self._checked:
            if key.namespace == namespace:
                self.runbooks.add_later(key, 1.0)
                self._wake_users(key)

    def _recount(self, runbook: Key | None) -> None:
        if runbook is not None:
            self.runbooks.add_later(runbook, _SETTLE_SECONDS)

    def _wake_users(self, runbook: Key) -> None:
        for name in self.tally.open_names(runbook):
            self.incidents.add(Key(runbook.namespace, name))


def _key(body: Json) -> Key:
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])
