"""To which sequence of Incidents each alert of a message goes, by the matchers of all Runbooks. Stores nothing.

Matchers are parsed once and fed by watch events; a Runbook takes alerts of its own namespace. A namespace's patterns have their share of
memory, and of processor time for each alert: an alert is compared with everybody's patterns by the event loop itself. RE2 looks at a
text in one pass, but a pattern that it cannot keep its states of takes a step for each of its parts at each byte: a hundredth of a second
for a pattern of 8 KiB and a label of a kilobyte. So the Runbook that takes most is put off for a while where the time is not enough.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from incident_operator.api.meta import ObjectKey, Severity
from incident_operator.core.alerts import matching, merging, received_alerts
from incident_operator.core.alerts.matching import AlertScope, Matcher, MatcherError, Unmatched
from incident_operator.core.alerts.merging import Group, IncidentSequence
from incident_operator.core.alerts.received_alerts import ReceivedAlert, is_heartbeat
from incident_operator.core.sanitize import NAMESPACE_BYTES, pattern_bytes

ALERT_SECONDS = 0.05
"""Of the processor, for one alert and all patterns of a namespace; a hundred Runbooks of the usual kind take a tenth of it at most."""
PUT_OFF_SECONDS = 600.0
_NOTABLE = 50e-6
"""Seconds from which on it is measured; what is interrupted takes long as well, so it is done once more for that."""
_WAITING = 64
"""Runbooks of a namespace that are matched as soon as others leave room; more of them when they are written anew."""
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A Runbook that matches."""

    namespace: str
    name: str
    severity: Severity
    """As it counts in its namespace."""
    group_by: tuple[str, ...]


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
            group = merging.of(candidate.namespace, candidate.name, candidate.group_by, alert.labels)
            _deliver(alert, group, candidate.severity, routed)
        ignored = not candidates and unmatched.ignores(alert.labels)
        if ignored:
            routed.ignored.append(alert)
        elif not candidates:
            if alert.firing:
                routed.unmatched.append(alert)
                if told := runbooks.elsewhere(alert.labels):
                    routed.elsewhere.append(told)
            if unmatched.namespace:
                _deliver(alert, merging.unmatched(unmatched.namespace, alert.labels), Severity.P2, routed)
        if not alert.firing:
            to_holders(alert, incidents, routed)


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


class MatchTime:
    """Which Runbooks are put off. The clock is a monotonic one, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, dict[ObjectKey, float]] = {}
        """By namespace, the Runbooks that are put off."""

    def alert(self) -> "AlertTime":
        """Return what measures one alert."""
        return AlertTime(self)

    def is_put_off(self, key: ObjectKey) -> bool:
        """Tell whether a Runbook is not matched just now, whatever became of it since."""
        until = self._until.get(key.namespace, {}).get(key)
        if until is None:
            return False
        if self._clock() < until:
            return True
        self._until[key.namespace].pop(key)
        if not self._until[key.namespace]:
            del self._until[key.namespace]
        return False

    def has_put_off(self, namespace: str) -> bool:
        """Tell whether any Runbook of a namespace is put off."""
        return any(self.is_put_off(key) for key in list(self._until.get(namespace, ())))

    def put_off(self, key: ObjectKey, seconds: float) -> None:
        """Do not match a Runbook for a while, because it took so many seconds."""
        self._until.setdefault(key.namespace, {})[key] = self._clock() + PUT_OFF_SECONDS
        told = {"namespace": key.namespace, "runbook": key.name, "seconds": round(seconds, 3)}
        _log.warning("A Runbook's patterns take too long and are paused", **told)


class AlertTime:
    """What the patterns of each namespace took for one alert."""

    def __init__(self, times: MatchTime) -> None:
        self._times = times
        self._taken: dict[str, dict[ObjectKey, float]] = {}

    def matches(self, key: ObjectKey, matchers: Sequence[Matcher], labels: Mapping[str, str]) -> bool:
        """Return whether all matchers of a Runbook hold, and put off the costliest while its namespace takes too long."""
        began = time.perf_counter()
        found = matching.matches(matchers, labels)
        if time.perf_counter() - began <= _NOTABLE:
            return found
        began = time.thread_time()
        matching.matches(matchers, labels)
        taken = self._taken.setdefault(key.namespace, {})
        taken[key] = time.thread_time() - began
        while sum(taken.values()) > ALERT_SECONDS:
            costliest = max(taken, key=lambda each: taken[each])
            self._times.put_off(costliest, taken.pop(costliest))
        return found


@dataclass(frozen=True, slots=True)
class _Held:
    """A Runbook's matchers, and the bytes that their patterns take."""

    matchers: tuple[Matcher, ...]
    candidate: Candidate
    taken: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A Runbook over its namespace's budget."""

    taken: int
    spec: Mapping[str, Any] | None
    """What is needed to note it; None where there are too many of them."""


class RunbookIndex:
    """The matchers of all Runbooks. One whose matchers cannot be read matches nothing; its Ready condition says so.

    Nor does one whose patterns, with those of its namespace that came before it, take more than `patterns.NAMESPACE_BYTES`.
    """

    def __init__(self, scope: AlertScope | None = None, times: MatchTime | None = None) -> None:
        """`scope` says whose alerts are whose; unless given, every Runbook takes those alone that name its namespace."""
        self._scope = scope or AlertScope()
        self._times = times or MatchTime()
        self._runbooks: dict[ObjectKey, _Held] = {}
        self._taken: Counter[str] = Counter()
        """Bytes by namespace."""
        self._over: dict[str, dict[ObjectKey, _Waiting]] = {}
        """By namespace, the Runbooks that are over its budget."""
        self._ready = False

    @property
    def ready(self) -> bool:
        """Whether the first list is in. Until then an alert could look unmatched, and be acknowledged for nothing."""
        return self._ready

    def mark_ready(self) -> None:
        """Say that every Runbook of the first list was noted."""
        self._ready = True

    def note(self, runbook: Mapping[str, Any]) -> None:
        """Remember a Runbook as the apiserver returned it."""
        key = _key(runbook)
        self._drop(key)
        found = self._read(key, runbook["spec"])
        if found is not None and self._taken[key.namespace] + found.taken > NAMESPACE_BYTES:
            over, spec = self._over.setdefault(key.namespace, {}), runbook["spec"]
            kept = {name: spec[name] for name in ("match", "severity", "groupBy") if name in spec}
            over[key] = _Waiting(found.taken, kept if len(over) < _WAITING else None)
            told = {"namespace": key.namespace, "runbook": key.name}
            _log.warning("A Runbook is over its namespace's budget of patterns", **told)
        elif found is not None:
            self._runbooks[key] = found
            self._taken[key.namespace] += found.taken
        self._note_waiting(key.namespace)

    def forget(self, runbook: Mapping[str, Any]) -> None:
        """Drop a deleted Runbook."""
        key = _key(runbook)
        self._drop(key)
        self._note_waiting(key.namespace)

    def names(self) -> tuple[ObjectKey, ...]:
        """Return namespace and name of every Runbook that can match."""
        return tuple(self._runbooks)

    def matching(self, labels: Mapping[str, str]) -> list[Candidate]:
        """Return every Runbook that answers an alert with these labels."""
        time = self._times.alert()
        return [
            held.candidate
            for key, held in self._runbooks.items()
            if self._scope.takes(key.namespace, labels) and self._matches(time, key, held, labels)
        ]

    def elsewhere(self, labels: Mapping[str, str]) -> str:
        """Return which Runbooks would answer an alert with these labels were it of their namespace, and what helps."""
        time = self._times.alert()
        found = [
            key
            for key, held in self._runbooks.items()
            # it is only told: nobody waits for a namespace that takes long
            if not self._scope.takes(key.namespace, labels)
            and not self._times.has_put_off(key.namespace)
            and self._matches(time, key, held, labels)
        ]
        return self._scope.elsewhere(found, labels)

    def over_budget(self, key: ObjectKey) -> str:
        """Say why a Runbook is not matched although its matchers can be read; empty where it is."""
        if self._times.is_put_off(key):
            return (
                f"spec.match: its patterns take too long: with those of its namespace, more than {ALERT_SECONDS * 1000:.0f} ms of "
                "processor time for one alert, so it matches no alert for ten minutes; use fewer repetitions ([ab]+ instead of "
                "[ab]{600}), or = where that is enough"
            )
        if key not in self._over.get(key.namespace, ()):
            return ""
        most = NAMESPACE_BYTES // 1024
        return (
            f"spec.match: with it the patterns of the Runbooks in namespace {key.namespace} would take more than {most} KiB, "
            "so it matches no alert; use = where that is enough, or patterns in fewer Runbooks"
        )

    def _matches(self, time: AlertTime, key: ObjectKey, held: _Held, labels: Mapping[str, str]) -> bool:
        if not held.taken:
            return matching.matches(held.matchers, labels)
        return not self._times.is_put_off(key) and time.matches(key, held.matchers, labels)

    def _drop(self, key: ObjectKey) -> None:
        held = self._runbooks.pop(key, None)
        if held is not None and held.taken:
            self._taken[key.namespace] -= held.taken
            self._taken += Counter()  # without the namespaces that have none any more
        over = self._over.get(key.namespace, {})
        over.pop(key, None)
        if not over:
            self._over.pop(key.namespace, None)

    def _note_waiting(self, namespace: str) -> None:
        """Note the first that waits where there is room for it by now, and so on."""
        while over := self._over.get(namespace):
            key, waiting = next(iter(over.items()))
            if waiting.spec is None or self._taken[namespace] + waiting.taken > NAMESPACE_BYTES:
                return
            self._drop(key)
            found = self._read(key, waiting.spec)
            if found is None:  # cannot be: it was read before
                continue
            self._runbooks[key] = found
            self._taken[namespace] += found.taken

    def _read(self, key: ObjectKey, spec: Mapping[str, Any]) -> _Held | None:
        read = [matching.parse(text) for text in spec["match"]]
        errors = [matcher.message for matcher in read if isinstance(matcher, MatcherError)]
        if errors:
            _log.warning(
                "A Runbook's matchers cannot be read", namespace=key.namespace, runbook=key.name, errors=errors
            )
            return None
        matchers = tuple(each for each in read if isinstance(each, Matcher))
        severity = self._scope.severity(key.namespace, Severity(spec.get("severity", Severity.P2)))
        candidate = Candidate(*key, severity, tuple(spec.get("groupBy") or ()))
        return _Held(matchers, candidate, pattern_bytes(each.pattern for each in matchers))


def _key(runbook: Mapping[str, Any]) -> ObjectKey:
    return ObjectKey(runbook["metadata"]["namespace"], runbook["metadata"]["name"])
