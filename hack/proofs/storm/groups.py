"""One aggregation group of one Alertmanager: what it knows, and what its next notification says. Pure.

As in Alertmanager's dispatcher: a notification tells of all alerts of the group as they are when it is written; while it
is under way, and being retried, later changes wait for the next one; an alert whose end was told is forgotten.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from proofs.storm.alerts import Alert, body


@dataclass(frozen=True, slots=True)
class Notification:
    """What one flush says; its bytes stay the same through all retries."""

    alerts: tuple[Alert, ...]
    body: bytes


@dataclass(slots=True)
class Group:
    """The alerts of a group, and what was told of them."""

    labels: Mapping[str, str]
    _now: dict[str, Alert] = field(default_factory=dict)
    _told: dict[str, str] = field(default_factory=dict)
    """Id of an alert → the status that was last told."""

    def insert(self, alert: Alert) -> None:
        """Take an alert's news in; an occurrence that began anew takes the place of one with the same labels."""
        for known in [each for each in self._now.values() if each.labels == alert.labels and each.id != alert.id]:
            del self._now[known.id]
        self._now[alert.id] = alert

    def flush(self) -> Notification | None:
        """What has to be told now; None where everything is."""
        if all(self._told.get(alert.id) == alert.status for alert in self._now.values()):
            return None
        alerts = tuple(self._now.values())
        return Notification(alerts, body(alerts, self.labels))

    def succeeded(self, notification: Notification) -> None:
        """It was taken: what it said is told, and what is over and unchanged since is forgotten."""
        for alert in notification.alerts:
            self._told[alert.id] = alert.status
            if alert.ends_at is not None and self._now.get(alert.id) == alert:
                del self._now[alert.id]
