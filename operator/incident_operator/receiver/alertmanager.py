"""What Alertmanager says, by its webhook and by its API: from bytes to alerts, each of which is understood, or refused, by itself.

Webhook: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>, which Grafana and Mimir send too, with other
versions and more fields. API: <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>. Fields that are not used
here are not looked at. A body is taken apart alert by alert, and never decoded as a whole; a long one is read in a thread, so that
a megabyte of JSON holds nobody else up.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeVar

import msgspec

from incident_operator.api.incident import AlertStatus
from incident_operator.core.alerts import received_alerts
from incident_operator.core.alerts.received_alerts import LIMITS, LabelLimits, ReceivedAlert
from incident_operator.receiver import json_text
from incident_operator.receiver.json_text import Cursor, EndsEarlyError, RawAlert, Timestamp
from incident_operator.receiver.refusals import MalformedError, Rejection

ALERTS = 200_000
"""Alerts of one message that are read: 32 MiB of the shortest that Alertmanager can send."""
_NAMED = 100
_MOST_TRUNCATED = 10**9
_ACTIVE, _SUPPRESSED = "active", "suppressed"
_AT_ONCE = 64 * 1024
"""Bytes that are read on the spot: a few milliseconds, and less than the way to a thread and back where there are few."""
_Read = TypeVar("_Read")
_Body = TypeVar("_Body", bytes, bytearray)


@dataclass(frozen=True, slots=True)
class Message:
    """What a message tells."""

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


def read_message(body: bytes | bytearray, limits: LabelLimits = LIMITS, *, beginning: bool = False) -> Message:
    """Return what the message tells. Raises `MalformedError`, and nothing else, where nothing of it can be understood.

    `beginning` says that the body is only the first part of one: what it tells whole is read.
    """
    gathered, cursor, truncated, found = Gathered(), Cursor(body), 0, False
    try:
        for key in cursor.members():
            if key == "alerts":
                found = True
                if _gather(cursor, gathered, limits):
                    return gathered.message(truncated, goes_on=True)
            elif key == "truncatedAlerts":
                # a number that makes no sense is none, and no reason to lose the alerts
                with suppress(msgspec.DecodeError):
                    truncated = min(max(msgspec.json.decode(cursor.value(), type=int), 0), _MOST_TRUNCATED)
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


def _gather(cursor: Cursor, gathered: Gathered, limits: LabelLimits) -> bool:
    """Read the list of alerts, and tell whether there are more than are read."""
    kind = cursor.kind()
    if kind == "null":
        return False
    if kind != "array":
        raise MalformedError("alerts", f"expected `array`, got `{kind}`")
    for number in cursor.elements():
        if number >= ALERTS:
            return True
        place = f"alerts[{number}]"
        alert = json_text.decoded(cursor.value(), _Alert, place)
        if isinstance(alert, Rejection):
            gathered.add(alert)
        else:
            gathered.add(json_text.checked(alert, AlertStatus(alert.status), place, limits))
    return False


class _Status(msgspec.Struct, rename="camel"):
    state: str
    silenced_by: list[str] | None = None


class _ListedAlert(RawAlert, rename="camel", kw_only=True):
    status: _Status


class _Receiver(msgspec.Struct):
    name: str


def read_listed(body: bytes, limits: LabelLimits, receiver: str, at: datetime | None) -> Message:
    """Return the alerts that are neither silenced nor inhibited, and that go to the receiver (to any, if it is empty).

    `at` is when the answer was given, by Alertmanager's clock: what ended before then has resolved. What is not told is
    not judged. Raises `MalformedError`, and nothing else, where the answer cannot be read.
    """
    gathered, cursor = Gathered(), Cursor(body)
    for number in cursor.elements():
        group = {key: cursor.part() for key in cursor.members() if key in {"receiver", "alerts"}}
        for key in ("receiver", "alerts"):
            if key not in group:
                raise MalformedError(f"[{number}]", f"object missing required field `{key}`")
        try:
            name = msgspec.json.decode(group["receiver"].value(), type=_Receiver).name
        except msgspec.DecodeError as error:
            raise MalformedError(f"[{number}].receiver", str(error)) from None
        if receiver not in {"", name}:
            continue
        alerts = group["alerts"]
        for index in alerts.elements():
            place = f"[{number}].alerts[{index}]"
            alert = json_text.decoded(alerts.value(), _ListedAlert, place)
            if isinstance(alert, Rejection):
                gathered.add(alert)
            elif alert.status.state == _ACTIVE:
                ended = at is not None and alert.end is not None and alert.end <= at
                status = AlertStatus.RESOLVED if ended else AlertStatus.FIRING
                gathered.add(json_text.checked(alert, status, place, limits))
    cursor.end()
    return gathered.message()


@dataclass(frozen=True, slots=True)
class Sighting:
    """How one alert stands in the list of one Alertmanager."""

    suppressed: bool
    """Whether nothing is told of it, and nothing will be of its end, for it is silenced, inhibited or muted."""
    silenced_by: tuple[str, ...] = ()
    """Names of silences."""


def listed(body: bytes, limits: LabelLimits) -> dict[str, Sighting]:
    """Return every alert of a plain list, by the fingerprint of its labels. Raises `MalformedError` where it cannot be read.

    An alert that can never be stored is left out: no Incident holds it.
    """
    cursor, found = Cursor(body), dict[str, Sighting]()
    for index in cursor.elements():
        raw = json_text.decoded(cursor.value(), _ListedAlert, f"[{index}]")
        if isinstance(raw, Rejection):
            continue
        alert = json_text.checked(raw, AlertStatus.FIRING, f"[{index}]", limits)
        if isinstance(alert, ReceivedAlert):
            standing = Sighting(raw.status.state == _SUPPRESSED, tuple(raw.status.silenced_by or ()))
            found[received_alerts.fingerprint_of(alert.id)] = standing
    cursor.end()
    return found


class _Silence(msgspec.Struct, rename="camel"):
    ends_at: Timestamp
    created_by: str = ""


def silence(body: bytes) -> tuple[datetime | None, str]:
    """Return until when a silence lasts (None where no sensible time is told), and who made it. Raises `MalformedError`."""
    found = json_text.decoded(body, _Silence, "silence")
    if isinstance(found, Rejection):
        raise MalformedError(found.field, found.reason)
    return (found.ends_at.at.astimezone(UTC) if found.ends_at.sensible else None), found.created_by


class Reading:
    """Runs readers of bodies; `close` ends its thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reading")

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def read(self, reader: Callable[[_Body], _Read], body: _Body) -> _Read:
        """Return what the reader makes of a body; raises what it raises."""
        if len(body) <= _AT_ONCE:
            return reader(body)
        return await asyncio.get_running_loop().run_in_executor(self._thread, reader, body)
