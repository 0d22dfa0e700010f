"""Checks what one alert tells, whoever tells it: Alertmanager's webhook, or its API.

An alert that cannot be stored is refused alone, for the others that came with it are not its senders' to lose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec

from incident_operator.api.incident import AlertStatus
from incident_operator.core import texts
from incident_operator.core.alerts import incident_spec, received_alerts
from incident_operator.core.alerts.received_alerts import ReceivedAlert
from incident_operator.core.outcomes import Json
from incident_operator.receiver import json_text
from incident_operator.receiver.rejections import MalformedError, Rejection

_Zoned = Annotated[datetime, msgspec.Meta(tz=True)]
_Wanted = TypeVar("_Wanted")
_FIRST = datetime(1970, 1, 2, tzinfo=UTC)
_LAST = datetime(9999, 12, 30, tzinfo=UTC)
_ALL_LABELS_BYTES = 64 * 1024
_SHOWN = 60
_REASON = 200


@dataclass(frozen=True, slots=True)
class LabelLimits:
    """How much of labels an alert may carry."""

    count: int = 64
    length: int = 1024
    """Bytes of one name or value, in UTF-8."""


class Timestamp:
    """A time that was told, to the millisecond; `converted` makes it of a text. No dataclass, which would be an object."""

    __slots__ = ("at",)

    def __init__(self, at: datetime) -> None:
        self.at = at

    @property
    def sensible(self) -> bool:
        """Whether it is one that can be stored; Go's zero time, say, is not."""
        return _FIRST <= self.at <= _LAST


class RawAlert(msgspec.Struct, rename="camel", kw_only=True):
    """What every source tells of an alert. Field names are Alertmanager's."""

    labels: dict[str, str]
    starts_at: Timestamp
    ends_at: Timestamp | None = None
    annotations: dict[str, str] = {}
    generator_url: str = msgspec.field(default="", name="generatorURL")

    @property
    def end(self) -> datetime | None:
        """When it ended, or will if nobody tells of it any more; None where no sensible time is told."""
        return self.ends_at.at.astimezone(UTC) if self.ends_at and self.ends_at.sensible else None


def converted(decoded: Json, wanted: type[_Wanted]) -> _Wanted:
    """Return decoded JSON as a msgspec type. Raises `MalformedError`, and nothing else, where it is none."""
    try:
        return msgspec.convert(decoded, wanted, dec_hook=_timestamp)
    except msgspec.ValidationError as error:
        raise _malformed(error) from error
    except UnicodeEncodeError as error:
        place = json_text.half_characters(decoded)
        raise MalformedError(place.field, place.reason) from error


def _timestamp(_: type, value: Any) -> Timestamp:
    text = value if isinstance(value, str) else ""
    if character := texts.not_storable(text):
        raise ValueError(f"holds {character}, which is no text")
    try:
        return Timestamp(msgspec.convert(received_alerts.to_milliseconds(text) or value, _Zoned))
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error  # msgspec tells the place of this one only


def _malformed(error: msgspec.ValidationError) -> MalformedError:
    reason, _, place = str(error).partition(" - at ")
    field = place.strip("`").removeprefix("$").removeprefix(".")
    return MalformedError(field or "body", texts.cut(reason[:1].lower() + reason[1:], _REASON))


def checked(alert: RawAlert, status: AlertStatus, place: str, limits: LabelLimits) -> ReceivedAlert | Rejection:
    """Return the alert as it may be stored, or why it may not; `place` is where the message tells of it."""
    rejection = (
        _refused_times(alert, place)
        or _refused_labels(alert.labels, f"{place}.labels", limits)
        or _refused_texts(alert, place)
    )
    if rejection:
        return rejection
    return received_alerts.of(
        alert.labels,
        alert.starts_at.at.astimezone(UTC),
        alert.end if status is AlertStatus.RESOLVED else None,
        status=status,
        annotations=alert.annotations,
        generator_url=alert.generator_url,
    )


def _refused_times(alert: RawAlert, place: str) -> Rejection | None:
    if alert.starts_at.sensible:
        return None
    return Rejection(f"{place}.startsAt", "is not between 1970 and 9999")


def _refused_labels(labels: Mapping[str, str], place: str, limits: LabelLimits) -> Rejection | None:
    if not labels:
        return Rejection(place, "is empty; an alert is known by its labels")
    if len(labels) > limits.count:
        return Rejection(place, f"holds {len(labels)} labels, at most {limits.count} are taken")
    for name, value in labels.items():
        reason = _refused_text(name, limits) or _refused_text(value, limits)
        if reason:
            return Rejection(f"{place}[{texts.quoted(name, _SHOWN)}]", reason)
    size = incident_spec.stored_size(labels)
    if size > _ALL_LABELS_BYTES:
        return Rejection(place, f"takes {size} bytes, at most {_ALL_LABELS_BYTES} are taken")
    return None


def _refused_text(text: str, limits: LabelLimits) -> str | None:
    character = texts.not_text(text)
    if character:
        return f"holds {character}, which is no text"
    size = len(text.encode())
    if size > limits.length:
        return f"takes {size} bytes, at most {limits.length} are taken"
    return None


def _refused_texts(alert: RawAlert, place: str) -> Rejection | None:
    """Look at what only people read: control characters there are replaced when it is stored, the rest is refused."""
    fields = [(f"annotations[{texts.quoted(name, _SHOWN)}]", name + text) for name, text in alert.annotations.items()]
    for field, text in [*fields, ("generatorURL", alert.generator_url)]:
        character = texts.not_storable(text)
        if character:
            return Rejection(f"{place}.{field}", f"holds {character}, which is no text")
    return None
