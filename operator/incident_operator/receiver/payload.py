"""The webhook's message: from bytes to alerts, each of which is understood, or refused, by itself.

Format: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>, which Grafana and Mimir send too, with other
versions and more fields. Fields that are not used here are not looked at. The body is taken apart alert by alert: none is ever
decoded as a whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from incident_operator.api.incident import AlertStatus
from incident_operator.core.alerts import kept
from incident_operator.core.alerts.kept import LabelLimits
from incident_operator.core.alerts.received_alerts import ReceivedAlert
from incident_operator.receiver import checking
from incident_operator.receiver.checking import RawAlert
from incident_operator.receiver.cursor import Cursor, EndsEarlyError
from incident_operator.receiver.rejections import MalformedError, Rejection

ALERTS = 200_000
"""Alerts of one message that are read: 32 MiB of the shortest that Alertmanager can send."""
_NAMED = 100
_MOST_TRUNCATED = 10**9


@dataclass(frozen=True, slots=True)
class Message:
    """What a message tells. Made by `read` or `of`."""

    alerts: tuple[ReceivedAlert, ...]
    """Each once."""
    refused: tuple[Rejection, ...]
    """Why alerts cannot be stored; of very many the first."""
    truncated: int
    """How many alerts Alertmanager left out."""
    refused_count: int = 0
    goes_on: bool = False
    """Whether it has more alerts than were read."""


class _Alert(RawAlert, rename="camel", kw_only=True):
    status: Literal["firing", "resolved"]


@dataclass(slots=True)
class Gathered:
    """The alerts of a message, while it is read."""

    alerts: dict[str, ReceivedAlert] = field(default_factory=dict)
    refused: list[Rejection] = field(default_factory=list)
    count: int = 0
    """Of those refused."""

    def add(self, found: ReceivedAlert | Rejection) -> None:
        """Add one; where a message tells of an alert twice, that it resolved is the later news."""
        if isinstance(found, ReceivedAlert):
            if found.id not in self.alerts or not found.firing:
                self.alerts[found.id] = found
            return
        self.count += 1
        if len(self.refused) < _NAMED:
            self.refused.append(found)

    def message(self, truncated: int = 0, *, goes_on: bool = False) -> Message:
        """Return what was gathered."""
        return Message(tuple(self.alerts.values()), tuple(self.refused), truncated, self.count, goes_on)


def read(body: bytes | bytearray, limits: LabelLimits = kept.LIMITS, *, beginning: bool = False) -> Message:
    """Return what the message tells. Raises `MalformedError`, and nothing else, where nothing of it can be understood.

    `beginning` says that the body is only the first part of one: what it tells whole is read.
    """
    gathered, cursor, truncated, found = Gathered(), Cursor(body), 0, False
    try:
        for key in cursor.members():
            if key == "alerts":
                found = True
                if _alerts(cursor, gathered, limits):
                    return gathered.message(truncated, goes_on=True)
            elif key == "truncatedAlerts":
                truncated = _number(cursor.value())
        cursor.end()
    except MalformedError as error:
        if beginning and found and isinstance(error, EndsEarlyError):
            return gathered.message(truncated, goes_on=True)
        if not gathered.alerts:
            raise
        gathered.add(Rejection("body", f"{error.reason}; what comes before that is stored"))
    if not found:
        raise MalformedError("body", "object missing required field `alerts`")
    return gathered.message(truncated)


def of(checked: Iterable[ReceivedAlert | Rejection]) -> Message:
    """Return a message of alerts that were checked."""
    gathered = Gathered()
    for each in checked:
        gathered.add(each)
    return gathered.message()


def _alerts(cursor: Cursor, gathered: Gathered, limits: LabelLimits) -> bool:
    """Read the list of alerts, and tell whether there are more than are read."""
    kind = cursor.kind()
    if kind == "null":
        return False
    if kind != "array":
        raise MalformedError("alerts", f"expected `array`, got `{kind}`")
    for number in cursor.elements():
        if number >= ALERTS:
            return True
        gathered.add(_alert(cursor.value(), f"alerts[{number}]", limits))
    return False


def _alert(written: bytes, place: str, limits: LabelLimits) -> ReceivedAlert | Rejection:
    alert = checking.decoded(written, _Alert, place)
    if isinstance(alert, Rejection):
        return alert
    return checking.checked(alert, AlertStatus(alert.status), place, limits)


def _number(written: bytes) -> int:
    """Return how many alerts were left out; what makes no sense is none, and no reason to lose the others."""
    try:
        told = msgspec.json.decode(written, type=int)
    except msgspec.DecodeError:
        return 0
    return min(max(told, 0), _MOST_TRUNCATED)
