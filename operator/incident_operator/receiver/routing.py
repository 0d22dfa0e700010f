"""To which sequence of Incidents each alert of a message goes. Stores nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from incident_operator.api.meta import Severity
from incident_operator.core.alerts import grouping, received_alerts
from incident_operator.core.alerts.grouping import Group, IncidentSequence
from incident_operator.core.alerts.received_alerts import ReceivedAlert
from incident_operator.core.alerts.unmatched import Unmatched, is_heartbeat
from incident_operator.receiver.runbooks import Candidate


class Runbooks(Protocol):
    """What is asked of the known Runbooks."""

    def matching(self, labels: Mapping[str, str]) -> list[Candidate]:
        """Return every Runbook that answers an alert with these labels."""
        ...

    def elsewhere(self, labels: Mapping[str, str]) -> str:
        """Return which Runbooks would, were it of their namespace, and what helps; empty where none would."""
        ...


class Holders(Protocol):
    """What is asked of the known Incidents."""

    def holders(self, fingerprint: str) -> tuple[IncidentSequence, ...]:
        """Return the sequences with an Incident in which an alert of these labels fires."""
        ...


@dataclass(slots=True)
class Delivery:
    """The alerts of a message that go to one sequence."""

    sequence: IncidentSequence
    truncated: int = 0
    """How many alerts of the message Alertmanager left out."""
    changes: list[ReceivedAlert] = field(default_factory=list)
    group: Group | None = None
    """What a new Incident is opened with; None where only stored ones are concerned."""
    severity: Severity = Severity.P2


@dataclass(slots=True)
class Routed:
    """Where the alerts of a message go."""

    truncated: int = 0
    """How many alerts of the message Alertmanager left out."""
    deliveries: dict[IncidentSequence, Delivery] = field(default_factory=dict)
    unmatched: list[ReceivedAlert] = field(default_factory=list)
    """Firing, and no Runbook takes it."""
    elsewhere: list[str] = field(default_factory=list)
    """Of those that match a Runbook but for its namespace: which one, and what helps."""
    ignored: list[ReceivedAlert] = field(default_factory=list)
    """No Runbook takes it, and the settings say that nobody has to."""
    heartbeats: int = 0
    """How many only say that the way to here works."""

    def within(self, namespace: str) -> "Routed":
        """Return what of it stays in one namespace; alerts without a Runbook are somebody else's to tell of."""
        inside = {sequence: each for sequence, each in self.deliveries.items() if sequence.namespace == namespace}
        return Routed(self.truncated, inside)

    def delivery(self, sequence: IncidentSequence) -> Delivery:
        """Return what goes to one sequence, to be added to."""
        return self.deliveries.setdefault(sequence, Delivery(sequence, self.truncated))


def route(
    alerts: Iterable[ReceivedAlert],
    runbooks: Runbooks,
    incidents: Holders,
    unmatched: Unmatched,
    routed: Routed,
) -> None:
    """Add to `routed` which alerts go where; a resolved one also goes to whatever holds it, for Runbooks may have changed."""
    for alert in alerts:
        if is_heartbeat(alert):
            routed.heartbeats += 1
            continue
        candidates = runbooks.matching(alert.labels)
        for candidate in candidates:
            group = grouping.of(candidate.namespace, candidate.name, candidate.group_by, alert.labels)
            _deliver(alert, group, candidate.severity, routed)
        if not candidates:
            _without_runbook(alert, runbooks, unmatched, routed)
        if not alert.firing:
            to_holders(alert, incidents, routed)


def _without_runbook(alert: ReceivedAlert, runbooks: Runbooks, unmatched: Unmatched, routed: Routed) -> None:
    if unmatched.ignores(alert.labels):
        routed.ignored.append(alert)
        return
    if alert.firing:
        routed.unmatched.append(alert)
        if told := runbooks.elsewhere(alert.labels):
            routed.elsewhere.append(told)
    if unmatched.namespace:
        _deliver(alert, grouping.unmatched(unmatched.namespace, alert.labels), Severity.P2, routed)


def to_holders(alert: ReceivedAlert, incidents: Holders, routed: Routed) -> None:
    """Add a resolved alert to what goes to the Incidents that hold it."""
    for sequence in incidents.holders(received_alerts.fingerprint_of(alert.id)):
        delivery = routed.delivery(sequence)
        if alert not in delivery.changes[-1:]:
            delivery.changes.append(alert)


def _deliver(alert: ReceivedAlert, group: Group, severity: Severity, routed: Routed) -> None:
    delivery = routed.delivery(group.sequence)
    delivery.changes.append(alert)
    delivery.group = group
    delivery.severity = severity
