"""How many Incidents each Runbook has open, and how its newest closed one ended: for `kubectl get runbooks`."""

from dataclasses import dataclass, field
from datetime import datetime

from incident_operator.api.incident import CLOSED_PHASES, Incident
from incident_operator.api.runbook import LastIncident
from incident_operator.engine.keys import Key


@dataclass(slots=True)
class Tally:
    """Fed by watch events; holds names of open Incidents only."""

    _open: dict[Key, set[str]] = field(default_factory=dict)
    _last: dict[Key, LastIncident] = field(default_factory=dict)

    def note(self, incident: Incident) -> Key | None:
        """Count an Incident as it is now; return its Runbook where that changed what is shown."""
        if incident.spec.runbook_ref is None:
            return None
        runbook = Key(incident.metadata.namespace, incident.spec.runbook_ref.name)
        return runbook if self._counted(runbook, incident) else None

    def forget(self, incident: Incident) -> Key | None:
        """Stop counting a deleted Incident; return its Runbook where that changed what is shown."""
        if incident.spec.runbook_ref is None:
            return None
        runbook = Key(incident.metadata.namespace, incident.spec.runbook_ref.name)
        known = self._open.get(runbook, set())
        if incident.metadata.name not in known:
            return None
        known.discard(incident.metadata.name)
        return runbook

    def open(self, runbook: Key) -> int:
        """Return how many Incidents of a Runbook are open."""
        return len(self._open.get(runbook, ()))

    def open_names(self, runbook: Key) -> tuple[str, ...]:
        """Return the names of a Runbook's open Incidents."""
        return tuple(self._open.get(runbook, ()))

    def last(self, runbook: Key) -> LastIncident | None:
        """Return how the newest closed Incident of a Runbook ended."""
        return self._last.get(runbook)

    def _counted(self, runbook: Key, incident: Incident) -> bool:
        names = self._open.setdefault(runbook, set())
        before = len(names)
        if incident.status.phase not in CLOSED_PHASES:
            names.add(incident.metadata.name)
            return len(names) != before
        names.discard(incident.metadata.name)
        return self._newest(runbook, incident) or len(names) != before

    def _newest(self, runbook: Key, incident: Incident) -> bool:
        at = _ended_at(incident)
        known = self._last.get(runbook)
        if at is None or (known is not None and known.at >= at):
            return False
        self._last[runbook] = LastIncident(name=incident.metadata.name, phase=incident.status.phase.value, at=at)
        return True


def _ended_at(incident: Incident) -> datetime | None:
    succeeded = [c.last_transition_time for c in incident.status.conditions if c.type == "Succeeded"]
    return incident.status.times.resolved or next(iter(succeeded), None)
