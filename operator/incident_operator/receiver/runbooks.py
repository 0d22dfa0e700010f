"""Which Runbooks answer an alert: their matchers, parsed once, fed by watch events."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from incident_operator.api.meta import ObjectKey, Severity
from incident_operator.core.alerts import matching
from incident_operator.core.alerts.matching import Matcher, MatcherError

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A Runbook that matches."""

    namespace: str
    name: str
    severity: Severity
    group_by: tuple[str, ...]


class RunbookIndex:
    """The matchers of all Runbooks. One whose matchers cannot be read matches nothing; its Ready condition says so."""

    def __init__(self) -> None:
        self._runbooks: dict[ObjectKey, tuple[tuple[Matcher, ...], Candidate]] = {}
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
        spec = runbook["spec"]
        matchers = [matching.parse(text) for text in spec["match"]]
        errors = [matcher.message for matcher in matchers if isinstance(matcher, MatcherError)]
        if errors:
            _log.warning("A Runbook's matchers cannot be read", namespace=key[0], runbook=key[1], errors=errors)
            self._runbooks.pop(key, None)
            return
        candidate = Candidate(*key, Severity(spec.get("severity", Severity.P2)), tuple(spec.get("groupBy") or ()))
        self._runbooks[key] = (tuple(each for each in matchers if isinstance(each, Matcher)), candidate)

    def forget(self, runbook: Mapping[str, Any]) -> None:
        """Drop a deleted Runbook."""
        self._runbooks.pop(_key(runbook), None)

    def names(self) -> tuple[ObjectKey, ...]:
        """Return namespace and name of every Runbook that can match."""
        return tuple(self._runbooks)

    def matching(self, labels: Mapping[str, str]) -> list[Candidate]:
        """Return every Runbook that answers an alert with these labels, in any namespace."""
        return [candidate for matchers, candidate in self._runbooks.values() if matching.matches(matchers, labels)]


def _key(runbook: Mapping[str, Any]) -> ObjectKey:
    return ObjectKey(runbook["metadata"]["namespace"], runbook["metadata"]["name"])
