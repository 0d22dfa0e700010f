"""What became of a message, in plain words for whoever sent it: what changed, and why the rest did not."""

from collections.abc import Iterator
from dataclasses import dataclass

from incident_operator.core.texts import counted

_NAMED = 3


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
        return f"{counted(self.alerts, 'alert')}: {', '.join(self._parts()) or 'nothing to store'}"

    def _parts(self) -> Iterator[str]:
        if self.opened:
            yield f"{counted(self.opened, 'Incident')} opened"
        if self.changed:
            yield f"{counted(self.changed, 'Incident')} changed"
        if self.known:
            yield f"{self.known} already in {self._incidents()}"
        if self.unmatched:
            yield f"{self.unmatched} without a Runbook"
        if self.never_stored:
            yield f"{self.never_stored} resolved, but never stored as firing"
        if self.refused:
            yield f"{self.refused} refused by their namespaces"
        if self.ignored:
            yield f"{self.ignored} ignored (unmatched.ignore)"
        if self.heartbeats:
            yield f"{counted(self.heartbeats, 'heartbeat')} (Watchdog)"

    def _incidents(self) -> str:
        named, more = ", ".join(self.known_in[:_NAMED]), len(self.known_in) - _NAMED
        word = "Incident" if len(self.known_in) == 1 else "Incidents"
        return f"{word} {named}" + (f" and {more} more" if more > 0 else "")
