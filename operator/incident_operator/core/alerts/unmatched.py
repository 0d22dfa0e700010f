"""Alerts that no Runbook takes: where they become Incidents, and which of them never do.

`Watchdog` always fires, so that its silence tells of a broken way: it is a heartbeat, whatever Runbook would match it. `InfoInhibitor`
always fires too, to keep others quiet. Rules of kube-prometheus bring both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from incident_operator.core.alerts import matching
from incident_operator.core.alerts.matching import Matcher, MatcherError
from incident_operator.core.alerts.received_alerts import ReceivedAlert

HEARTBEAT = "Watchdog"
"""The `alertname` of the alert that only says that all is connected."""
IGNORE = ('alertname="Watchdog"', 'alertname="InfoInhibitor"')
"""What is ignored unless the settings say otherwise."""
_NAME = "alertname"


@dataclass(frozen=True, slots=True)
class Unmatched:
    """What becomes of alerts that no Runbook takes."""

    namespace: str | None = None
    """Where they become Incidents; None only counts and logs them."""
    ignore: tuple[Matcher, ...] = ()
    """An alert for which any of these holds is only counted."""

    def ignores(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an alert with these labels is nobody's trouble."""
        return any(matcher.holds(labels) for matcher in self.ignore)


def matchers(told: Iterable[str]) -> tuple[Matcher, ...]:
    """Return matchers as they are written in settings. Raises `ValueError`, whose message says what would be right."""
    return tuple(_matcher(text) for text in told)


def is_heartbeat(alert: ReceivedAlert) -> bool:
    """Tell whether an alert says that the way to here works, and nothing else; one that resolved says nothing."""
    return alert.firing and alert.labels.get(_NAME) == HEARTBEAT


def _matcher(text: str) -> Matcher:
    found = matching.parse(text)
    if isinstance(found, MatcherError):
        raise ValueError(f"{text!r}: {found.message} (column {found.column})")  # noqa: TRY004 # of what was written, not of its type
    return found
