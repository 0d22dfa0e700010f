"""The open alerts that an Alertmanager's API tells of: from its answer to alerts as the webhook tells them.

Format: `alertGroups` of <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>. Fields that are not
used here are not looked at, and an alert that cannot be understood is refused alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from incident_operator.api.incident import AlertStatus
from incident_operator.core.alerts import received_alerts
from incident_operator.core.alerts.kept import LabelLimits
from incident_operator.core.alerts.received_alerts import ReceivedAlert
from incident_operator.receiver import checking, payload
from incident_operator.receiver.checking import RawAlert, Timestamp
from incident_operator.receiver.cursor import Cursor
from incident_operator.receiver.payload import Message
from incident_operator.receiver.rejections import MalformedError, Rejection

_ACTIVE, _SUPPRESSED = "active", "suppressed"


class _Status(msgspec.Struct, rename="camel"):
    state: str
    silenced_by: list[str] | None = None


class _Alert(RawAlert, rename="camel", kw_only=True):
    status: _Status


class _Receiver(msgspec.Struct):
    name: str


def read(body: bytes, limits: LabelLimits, receiver: str, at: datetime | None) -> Message:
    """Return the alerts that are neither silenced nor inhibited, and that go to the receiver (to any, if it is empty).

    `at` is when the answer was given, by Alertmanager's clock: what ended before then has resolved. What is not told is
    not judged. Raises `MalformedError`, and nothing else, where the answer cannot be read.
    """
    return payload.of(_checked(body, limits, receiver, at))


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
            alert = checking.decoded(alerts.value(), _Alert, place)
            if isinstance(alert, Rejection):
                yield alert
            elif alert.status.state == _ACTIVE:
                yield checking.checked(alert, _status(alert, at), place, limits)
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
        raw = checking.decoded(cursor.value(), _Alert, f"[{index}]")
        if isinstance(raw, Rejection):
            continue
        alert = checking.checked(raw, AlertStatus.FIRING, f"[{index}]", limits)
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
    found = checking.decoded(body, _Silence, "silence")
    if isinstance(found, Rejection):
        raise MalformedError(found.field, found.reason)
    return (found.ends_at.at.astimezone(UTC) if found.ends_at.sensible else None), found.created_by


def _status(alert: RawAlert, at: datetime | None) -> AlertStatus:
    ended = at is not None and alert.end is not None and alert.end <= at
    return AlertStatus.RESOLVED if ended else AlertStatus.FIRING
