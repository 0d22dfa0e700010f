"""Which Runbooks answer an alert: their matchers, parsed once, fed by watch events, each for alerts of its own namespace.

A namespace's Runbooks have a share of memory for their patterns, and of processor time for each alert (`match_time.py`).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from incident_operator.api.meta import ObjectKey, Severity
from incident_operator.core import patterns
from incident_operator.core.alerts import matching
from incident_operator.core.alerts.matching import Matcher, MatcherError
from incident_operator.core.alerts.scope import AlertScope
from incident_operator.receiver.match_time import ALERT_SECONDS, AlertTime, MatchTime

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
        if found is not None and self._taken[key.namespace] + found.taken > patterns.NAMESPACE_BYTES:
            self._put_off(key, runbook["spec"], found.taken)
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
        return self._scope.elsewhere(list(self._elsewhere(labels)), labels)

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
        most = patterns.NAMESPACE_BYTES // 1024
        return (
            f"spec.match: with it the patterns of the Runbooks in namespace {key.namespace} would take more than {most} KiB, "
            "so it matches no alert; use = where that is enough, or patterns in fewer Runbooks"
        )

    def _elsewhere(self, labels: Mapping[str, str]) -> Iterator[ObjectKey]:
        time = self._times.alert()
        for key, held in self._runbooks.items():
            # it is only told: nobody waits for a namespace that takes long
            if self._scope.takes(key.namespace, labels) or self._times.has_put_off(key.namespace):
                continue
            if self._matches(time, key, held, labels):
                yield key

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

    def _put_off(self, key: ObjectKey, spec: Mapping[str, Any], taken: int) -> None:
        over = self._over.setdefault(key.namespace, {})
        kept = {name: spec[name] for name in ("match", "severity", "groupBy") if name in spec}
        over[key] = _Waiting(taken, kept if len(over) < _WAITING else None)
        _log.warning("A Runbook is over its namespace's budget of patterns", namespace=key.namespace, runbook=key.name)

    def _note_waiting(self, namespace: str) -> None:
        """Note the first that waits where there is room for it by now, and so on."""
        while over := self._over.get(namespace):
            key, waiting = next(iter(over.items()))
            if waiting.spec is None or self._taken[namespace] + waiting.taken > patterns.NAMESPACE_BYTES:
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
        return _Held(matchers, candidate, patterns.taken(each.pattern for each in matchers))


def _key(runbook: Mapping[str, Any]) -> ObjectKey:
    return ObjectKey(runbook["metadata"]["namespace"], runbook["metadata"]["name"])
