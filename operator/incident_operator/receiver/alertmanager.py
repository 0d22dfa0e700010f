"""The open alerts that an Alertmanager's API tells of: from its answer to alerts as the webhook tells them.

Format: `alertGroups` of <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>. Fields that are not
used here are not looked at, and an alert that cannot be understood is refused alone.

The webhook's message: from bytes to alerts, each of which is understood, or refused, by itself.

Format: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>, which Grafana and Mimir send too, with other
versions and more fields. Fields that are not used here are not looked at. The body is taken apart alert by alert: none is ever
decoded as a whole.

Reads long bodies in a thread, one at a time, so that a megabyte of JSON holds nobody else up.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
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


def read_message(body: bytes | bytearray, limits: LabelLimits = LIMITS, *, beginning: bool = False) -> Message:
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


def message_of(checked: Iterable[ReceivedAlert | Rejection]) -> Message:
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
    alert = json_text.decoded(written, _Alert, place)
    if isinstance(alert, Rejection):
        return alert
    return json_text.checked(alert, AlertStatus(alert.status), place, limits)


def _number(written: bytes) -> int:
    """Return how many alerts were left out; what makes no sense is none, and no reason to lose the others."""
    try:
        told = msgspec.json.decode(written, type=int)
    except msgspec.DecodeError:
        return 0
    return min(max(told, 0), _MOST_TRUNCATED)


_AT_ONCE = 64 * 1024
"""Bytes that are read on the spot: a few milliseconds, and less than the way to a thread and back where there are few."""
_Read = TypeVar("_Read")
_Body = TypeVar("_Body", bytes, bytearray)


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


_ACTIVE, _SUPPRESSED = "active", "suppressed"


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
    return message_of(_checked(body, limits, receiver, at))


def _checked(
    body: bytes, limits: LabelLimits, receiver: str, at: datetime | None
) -> Iterator[ReceivedAlert | Rejection]:
    cursor = Cursor(body)
    for number in cursor.elements():
        group = _parts(cursor, f"[{number}]")
        if receiver not in {"", _receiver(group["receiver"].value(), f"[{number}].receiver")}:
            continue
        alerts = group["alerts"]
        for index in alerts.elements():
            place = f"[{number}].alerts[{index}]"
            alert = json_text.decoded(alerts.value(), _ListedAlert, place)
            if isinstance(alert, Rejection):
                yield alert
            elif alert.status.state == _ACTIVE:
                yield json_text.checked(alert, _status(alert, at), place, limits)
    cursor.end()


def _parts(cursor: Cursor, place: str) -> dict[str, Cursor]:
    """Return what is used of a group."""
    found = {key: cursor.part() for key in cursor.members() if key in {"receiver", "alerts"}}
    for key in ("receiver", "alerts"):
        if key not in found:
            raise MalformedError(place, f"object missing required field `{key}`")
    return found


def _receiver(written: bytes, place: str) -> str:
    try:
        return msgspec.json.decode(written, type=_Receiver).name
    except msgspec.DecodeError as error:
        raise MalformedError(place, str(error)) from None


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


def _status(alert: RawAlert, at: datetime | None) -> AlertStatus:
    ended = at is not None and alert.end is not None and alert.end <= at
    return AlertStatus.RESOLVED if ended else AlertStatus.FIRING
