"""What became of a message, or why not: the receipt, the rejection of one alert, a namespace that refuses, and the log of it.

A namespace's refusal may pass: a chart that is upgraded changes its roles one after another, and an apiserver that starts refuses for a
moment what it allows. One that stays would have Alertmanager send the same message for ever, with all that other namespaces have in it:
it is given up after a while. A sender that is refused is dropped in silence by Alertmanager, so somebody has to be told; one that floods
must not fill the log.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from incident_operator.core import texts
from incident_operator.core.texts import counted

GIVE_UP_SECONDS = 300.0
"""After how long of nothing but refusals a namespace's alerts are counted as lost. Alertmanager's own `group_interval` is as long."""
_FORGET_SECONDS = 900.0
"""A refusal that comes so long after the one before has nothing to do with it."""
EVERY = 60.0
"""Seconds between two lines about the same sender and status."""
LINES = 20
"""Lines within that time, whoever the senders are."""
_REMEMBERED = 256
_SHOWN = 500
_NAMED = 3
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a message, all of which is stored."""

    alerts: int
    opened: int
    changed: int
    unmatched: int
    never_stored: int
    refused: int = 0
    known: int = 0
    """Alerts that told nothing new."""
    known_in: tuple[str, ...] = ()
    """The Incidents that hold these, `namespace/name`."""
    ignored: int = 0
    heartbeats: int = 0

    def __str__(self) -> str:
        """Return it for the reply, one line."""
        named, more = ", ".join(self.known_in[:_NAMED]), len(self.known_in) - _NAMED
        word = "Incident" if len(self.known_in) == 1 else "Incidents"
        holders = f"{word} {named}" + (f" and {more} more" if more > 0 else "")
        parts = (
            (self.opened, f"{counted(self.opened, 'Incident')} opened"),
            (self.changed, f"{counted(self.changed, 'Incident')} changed"),
            (self.known, f"{self.known} already in {holders}"),
            (self.unmatched, f"{self.unmatched} without a Runbook"),
            (self.never_stored, f"{self.never_stored} resolved, but never stored as firing"),
            (self.refused, f"{self.refused} refused by their namespaces"),
            (self.ignored, f"{self.ignored} ignored (unmatched.ignore)"),
            (self.heartbeats, f"{counted(self.heartbeats, 'heartbeat')} (Watchdog)"),
        )
        told = ", ".join(text for count, text in parts if count)
        return f"{counted(self.alerts, 'alert')}: {told or 'nothing to store'}"


@dataclass(frozen=True, slots=True)
class Rejection:
    """One defect of a message."""

    field: str
    """Where, e.g. `alerts[3].labels["instance"]`; `body` for the whole."""
    reason: str
    """What is wrong there."""

    def __str__(self) -> str:
        """Return both in one line."""
        return f"{self.field}: {self.reason}"


class MalformedError(Exception):
    """The message cannot be read at all."""

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason
        super().__init__(str(Rejection(field, reason)))


@dataclass(slots=True)
class Refusals:
    """Since when each namespace refuses."""

    give_up_seconds: float = GIVE_UP_SECONDS
    _spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Namespace to its first refusal and its last, in the event loop's time."""

    def refused(self, namespace: str) -> bool:
        """Note a refusal, and tell whether the namespace is given up."""
        now = asyncio.get_running_loop().time()
        first, last = self._spans.get(namespace, (now, now))
        if now - last > _FORGET_SECONDS:
            first = now
        self._spans[namespace] = (first, now)
        return now - first >= self.give_up_seconds

    def taken(self, namespace: str) -> None:
        """Note that the namespace took an Incident, or a change of one."""
        self._spans.pop(namespace, None)


class RefusalLog:
    """Tells of refused requests. What it is told must hold no token."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._untold = 0
        self._since = float("-inf")
        self._lines = 0

    def tell(self, sender: str | None, status: int, reason: str, remedy: str) -> None:
        """Log a refusal, unless the same was logged a moment ago, or too much was; what was left out is counted in the next line."""
        now, key = self._clock(), (sender or "unknown", status)
        if now - self._since >= EVERY:
            self._since, self._lines = now, 0
        if now - self._last.get(key, float("-inf")) < EVERY or self._lines >= LINES:
            self._untold += 1
            return
        self._last[key] = now
        self._last.move_to_end(key)
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
        more = {"others_not_logged": self._untold} if self._untold else {}
        told = {"sender": key[0], "status": status, "error": texts.cut(texts.visible(reason), _SHOWN)}
        _log.warning("Refused a request", **told, **({"remedy": remedy} if remedy else {}), **more)
        self._untold = 0
        self._lines += 1
