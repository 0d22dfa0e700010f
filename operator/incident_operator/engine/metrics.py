"""What the engine counts: series for Prometheus, and which Incidents are open, a slim record each.

Labels are bounded: stages, actions, states and phases, never names.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge

from incident_operator.api.incident import CLOSED_PHASES
from incident_operator.api.meta import ObjectKey
from incident_operator.api.runbook import LastIncident
from incident_operator.core.outcomes import Json


class EngineMetrics:
    """The engine's series in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.steps = Counter(
            "incident_operator_steps",
            "Attempts of steps that ended.",
            ["stage", "action", "state"],
            registry=registry,
        )
        self.phases = Counter("incident_operator_phase_changes", "Phases entered.", ["phase"], registry=registry)
        self._leader = Gauge("incident_operator_leader", "1 where this process leads, else 0.", registry=registry)
        self._waiting = Gauge("incident_operator_queue_depth", "Incidents that wait for a worker.", registry=registry)

    def watch_leader(self, leads: Callable[[], bool]) -> None:
        """Ask whether this process leads whenever the series are read."""
        self._leader.set_function(leads)

    def watch_depth(self, depth: Callable[[], float]) -> None:
        """Ask for the queue's depth whenever the series are read."""
        self._waiting.set_function(depth)


@dataclass(slots=True)
class IncidentCounts:
    """Fed by watch events, on every replica."""

    _open: dict[ObjectKey, ObjectKey | None] = field(default_factory=dict)
    """Open Incident → its Runbook."""
    _of: dict[ObjectKey, set[str]] = field(default_factory=dict)
    """Runbook → names of its open Incidents."""
    _last: dict[ObjectKey, LastIncident] = field(default_factory=dict)

    def note(self, key: ObjectKey, incident: Json) -> ObjectKey | None:
        """Count an Incident as it is now; return its Runbook where that changed what is shown."""
        status = incident.get("status") or {}
        if status.get("phase") not in CLOSED_PHASES:
            return self._noted_open(key, incident.get("spec") or {})
        runbook = _runbook(key, incident.get("spec") or {})
        shown = self.forget(key)
        if runbook is not None and self._is_newest(runbook, key.name, status):
            return runbook
        return shown

    def forget(self, key: ObjectKey) -> ObjectKey | None:
        """Stop counting one that is closed or deleted; return its Runbook where that changed what is shown."""
        runbook = self._open.pop(key, None)
        if runbook is not None:
            self._of[runbook].discard(key.name)
        return runbook

    def is_open(self, key: ObjectKey) -> bool:
        """Return whether an Incident counts as open."""
        return key in self._open

    def open(self, runbook: ObjectKey) -> int:
        """Return how many Incidents of a Runbook are open."""
        return len(self._of.get(runbook, ()))

    def open_names(self, runbook: ObjectKey) -> tuple[str, ...]:
        """Return the names of a Runbook's open Incidents."""
        return tuple(self._of.get(runbook, ()))

    def last(self, runbook: ObjectKey, stored: LastIncident | None = None) -> LastIncident | None:
        """Return how the newest closed Incident of a Runbook ended: as stored, unless this process knows a newer one."""
        known = self._last.get(runbook)
        if known is None or (stored is not None and stored.at >= known.at):
            return stored
        return known

    def _noted_open(self, key: ObjectKey, spec: Json) -> ObjectKey | None:
        if key in self._open:
            return None
        runbook = self._open[key] = _runbook(key, spec)
        if runbook is not None:
            self._of.setdefault(runbook, set()).add(key.name)
        return runbook

    def _is_newest(self, runbook: ObjectKey, name: str, status: Json) -> bool:
        at = _ended_at(status)
        known = self._last.get(runbook)
        if at is None or (known is not None and known.at >= at):
            return False
        self._last[runbook] = LastIncident(name=name, phase=status["phase"], at=at)
        return True


def _runbook(key: ObjectKey, spec: Json) -> ObjectKey | None:
    reference = spec.get("runbookRef")
    return ObjectKey(key.namespace, reference["name"]) if reference else None


def _ended_at(status: Json) -> datetime | None:
    resolved = (status.get("times") or {}).get("resolved")
    succeeded = [c["lastTransitionTime"] for c in status.get("conditions") or [] if c.get("type") == "Succeeded"]
    written = resolved or next(iter(succeeded), None)
    return datetime.fromisoformat(written) if written else None
