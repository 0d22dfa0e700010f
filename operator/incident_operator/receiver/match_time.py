"""What matching may take: an alert is compared with everybody's patterns by the event loop itself.

RE2 looks at a text in one pass, but a pattern that it cannot keep its states of takes a step for each of its parts at each byte:
a hundredth of a second for a pattern of 8 KiB and a label of a kilobyte. So a namespace's patterns have their processor time for
each alert, and the Runbook that takes most of it is put off for a while where that is not enough.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from incident_operator.api.meta import ObjectKey
from incident_operator.core.alerts import matching
from incident_operator.core.alerts.matching import Matcher

ALERT_SECONDS = 0.05
"""Of the processor, for one alert and all patterns of a namespace; a hundred Runbooks of the usual kind take a tenth of it at most."""
PUT_OFF_SECONDS = 600.0
_NOTABLE = 50e-6
"""Seconds from which on it is measured; what is interrupted takes long as well, so it is done once more for that."""
_log = structlog.get_logger()


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
        if time.perf_counter() - began > _NOTABLE:
            self._count(key, _processor_seconds(matchers, labels))
        return found

    def _count(self, key: ObjectKey, seconds: float) -> None:
        taken = self._taken.setdefault(key.namespace, {})
        taken[key] = seconds
        while sum(taken.values()) > ALERT_SECONDS:
            costliest = max(taken, key=lambda each: taken[each])
            self._times.put_off(costliest, taken.pop(costliest))


def _processor_seconds(matchers: Sequence[Matcher], labels: Mapping[str, str]) -> float:
    began = time.thread_time()
    matching.matches(matchers, labels)
    return time.thread_time() - began
