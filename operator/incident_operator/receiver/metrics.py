"""What the receiver counts, and how much is in work at a time.

No label of a series holds anything that an alert says: a sender cannot make series. What is beyond the `LoadLimit` is told to come again:
Alertmanager repeats a 503, and drops a 429. Bytes count when they have arrived, not when they are announced: a sender that only announces
takes nobody's room. A part comes on top and is kept back, of bytes for small messages, whose severity can thus always be read, and of
places for what is urgent.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from incident_operator.api.meta import Severity
from incident_operator.kubernetes import priority

ARRIVING = 1024
"""Messages that may be on their way in at a time, however slowly; each has its own time limit."""
SMALL = 64 * 1024
"""A message of so many bytes may use what is kept back; Alertmanager's for one group is rarely longer."""
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_NO_SEVERITY = "none"


class OverloadedError(Exception):
    """There is enough in work already."""


class LoadLimit:
    """Counts the messages that arrive and that are stored, and the bytes that they take."""

    def __init__(self, max_posts: int, max_bytes: int, in_flight: Gauge) -> None:
        self._max_posts = max_posts
        self._max_bytes = max_bytes
        self._in_flight = in_flight
        self._arriving = 0
        self._posts = 0
        self._bytes = 0

    @contextmanager
    def arrival(self) -> Iterator["Arrival"]:
        """Let a message come in; its bytes are given back at the block's end. Raises `OverloadedError`."""
        if self._arriving >= ARRIVING:
            raise OverloadedError
        arrival = Arrival(self)
        self._arriving += 1
        try:
            yield arrival
        finally:
            arrival.arrived()
            self._bytes -= arrival.size

    @contextmanager
    def storing(self, *, urgent: bool) -> Iterator[None]:
        """Let a message be stored in the block. Raises `OverloadedError`."""
        kept = priority.kept_of(self._max_posts) if urgent else 0
        if self._posts >= self._max_posts + kept:
            raise OverloadedError
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def take(self, size: int, before: int) -> None:
        """Count bytes that came in of a message that has `before` already. Raises `OverloadedError`."""
        kept = priority.kept_of(self._max_bytes) if before + size <= SMALL else 0
        if self._bytes + size > self._max_bytes + kept:
            raise OverloadedError
        self._bytes += size

    def whole(self) -> None:
        """Count one message less that is on its way in."""
        self._arriving -= 1

    def _count(self, posts: int) -> None:
        self._posts += posts
        self._in_flight.set(self._posts)


class Arrival:
    """One message on its way in."""

    def __init__(self, load_limit: LoadLimit) -> None:
        self._load_limit = load_limit
        self._on_the_way = True
        self.size = 0
        """Bytes that have arrived."""

    def grow(self, size: int) -> None:
        """Count bytes that came in. Raises `OverloadedError`."""
        self._load_limit.take(size, self.size)
        self.size += size

    def arrived(self) -> None:
        """Say that nothing more comes; may be called twice."""
        if self._on_the_way:
            self._on_the_way = False
            self._load_limit.whole()


class Writes(Protocol):
    """The intake's requests to the apiserver: `kubernetes/priority.py`."""

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
