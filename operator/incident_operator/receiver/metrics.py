"""What the receiver counts. No label holds anything that an alert says: a sender cannot make series."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from incident_operator.api.meta import Severity

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_NO_SEVERITY = "none"


class Writes(Protocol):
    """The intake's requests to the apiserver: `clients/priority.py`."""

    @property
    def limit(self) -> int:
        """How many may be under way at a time."""
        ...

    @property
    def under_way(self) -> int:
        """How many are."""
        ...

    def waiting_of(self, severity: str) -> int:
        """Return how many wait of a severity, or of none."""
        ...


class ReceiverMetrics:
    """The receiver's series in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.alerts = Counter(
            "incident_operator_alerts_received",
            "Alerts in messages that were read, repeats included.",
            ["status"],
            registry=registry,
        )
        self.unmatched = Counter(
            "incident_operator_alerts_unmatched", "Firing alerts that no Runbook matches.", registry=registry
        )
        self.elsewhere = Counter(
            "incident_operator_alerts_elsewhere",
            "Firing alerts that only Runbooks of other namespaces match; they are among the unmatched.",
            registry=registry,
        )
        self.ignored = Counter(
            "incident_operator_alerts_ignored",
            "Alerts that no Runbook matches, and that unmatched.ignore leaves out.",
            registry=registry,
        )
        self.heartbeat = Gauge(
            "incident_operator_watchdog_last_received_timestamp_seconds",
            "When the alert Watchdog last arrived, in seconds since 1970; 0 before the first.",
            registry=registry,
        )
        self.never_stored = Counter(
            "incident_operator_alerts_resolved_unknown",
            "Resolved alerts that no Incident ever held.",
            registry=registry,
        )
        self.refused = Counter(
            "incident_operator_alerts_refused", "Alerts that cannot be stored; they are lost.", registry=registry
        )
        self.truncated = Counter(
            "incident_operator_alerts_truncated",
            "Alerts that Alertmanager left out of its messages (max_alerts); they are lost.",
            registry=registry,
        )
        self.writes = Counter(
            "incident_operator_intake_writes",
            "Incidents opened, and Incidents changed, by alerts.",
            ["kind"],
            registry=registry,
        )
        self.posts = Counter(
            "incident_operator_alert_posts", "Messages by the HTTP status they got.", ["code"], registry=registry
        )
        self.too_long = Counter(
            "incident_operator_alert_posts_too_long",
            "Messages longer than the limit, by whether the rest was read from an Alertmanager at once.",
            ["rest"],
            registry=registry,
        )
        self.duration = Histogram(
            "incident_operator_alert_post_duration_seconds",
            "From a message's head to its reply, for messages that were let in.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge("incident_operator_alert_posts_in_flight", "Messages in work.", registry=registry)
        self._request_limit = Gauge(
            "incident_operator_intake_requests_limit",
            "How many requests of the intake may run at a time, as learned from the apiserver's latency.",
            registry=registry,
        )
        self._requests = Gauge(
            "incident_operator_intake_requests_in_flight",
            "Requests of the intake that are on their way to the apiserver.",
            registry=registry,
        )
        self._waiting = Gauge(
            "incident_operator_intake_requests_waiting",
            "Requests of the intake that wait for a place, by the severity that decides whose turn it is.",
            ["severity"],
            registry=registry,
        )

    def watch_writes(self, writes: Writes) -> None:
        """Ask how the intake's requests stand whenever the series are read."""
        self._request_limit.set_function(lambda: writes.limit)
        self._requests.set_function(lambda: writes.under_way)
        for severity in (*Severity, ""):
            waiting: Callable[[], float] = partial(writes.waiting_of, severity)
            self._waiting.labels(severity or _NO_SEVERITY).set_function(waiting)
