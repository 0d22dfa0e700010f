"""Alertmanager's webhook message, version 4: from bytes to alerts, or to the reason why not.

Format: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>. Fields that are not used here are
not looked at. A message that cannot be read is refused whole; an alert that cannot be stored is refused alone, for the
other alerts of the message are not its senders' to lose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from incident_operator.api.incident import AlertStatus
from incident_operator.core import texts
from incident_operator.core.alerts import incident_spec, occurrences
from incident_operator.core.alerts.occurrences import Occurrence
from incident_operator.core.outcomes import Json
from incident_operator.receiver import json_text
from incident_operator.receiver.refusals import MalformedError, Refusal

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
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


@dataclass(frozen=True, slots=True)
class Message:
    """What a message tells."""

    alerts: tuple[Occurrence, ...]
    """Each once."""
    refused: tuple[Refusal, ...]
    """One for each alert that cannot be stored."""
    truncated: int
    """How many alerts Alertmanager left out."""


class _Alert(msgspec.Struct, rename="camel"):
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    starts_at: _Moment
    ends_at: _Moment | None = None
    annotations: dict[str, str] = {}
    generator_url: str = msgspec.field(default="", name="generatorURL")


class _Payload(msgspec.Struct, rename="camel"):
    version: Literal["4"]
    alerts: list[_Alert]
    truncated_alerts: Annotated[int, msgspec.Meta(ge=0, le=10**9)] = 0


def read(body: bytes, limits: LabelLimits) -> Message:
    """Return what the message tells. Raises `MalformedError`, and nothing else, where it cannot be read."""
    payload = _payload(json_text.read(body))
    read_alerts = [_occurrence(alert, f"alerts[{index}]", limits) for index, alert in enumerate(payload.alerts)]
    return Message(
        alerts=occurrences.distinct(each for each in read_alerts if isinstance(each, Occurrence)),
        refused=tuple(each for each in read_alerts if isinstance(each, Refusal)),
        truncated=payload.truncated_alerts,
    )


def _payload(decoded: Json) -> _Payload:
    try:
        return msgspec.convert(decoded, _Payload)
    except msgspec.ValidationError as error:
        raise _malformed(error) from error
    except UnicodeEncodeError as error:
        place = json_text.half_characters(decoded)
        raise MalformedError(place.field, place.reason) from error


def _malformed(error: msgspec.ValidationError) -> MalformedError:
    reason, _, place = str(error).partition(" - at ")
    field = place.strip("`").removeprefix("$").removeprefix(".")
    return MalformedError(field or "body", texts.cut(reason[:1].lower() + reason[1:], _REASON))


def _occurrence(alert: _Alert, place: str, limits: LabelLimits) -> Occurrence | Refusal:
    refusal = (
        _refused_times(alert, place)
        or _refused_labels(alert.labels, f"{place}.labels", limits)
        or _refused_texts(alert, place)
    )
    if refusal:
        return refusal
    status = AlertStatus(alert.status)
    return occurrences.of(
        alert.labels,
        alert.starts_at.astimezone(UTC),
        _end(alert) if status is AlertStatus.RESOLVED else None,
        status=status,
        annotations=alert.annotations,
        generator_url=alert.generator_url,
    )


def _end(alert: _Alert) -> datetime | None:
    if alert.ends_at is None or not _in_range(alert.ends_at):
        return None
    return alert.ends_at.astimezone(UTC)


def _in_range(moment: datetime) -> bool:
    return _FIRST <= moment <= _LAST


def _refused_times(alert: _Alert, place: str) -> Refusal | None:
    if _in_range(alert.starts_at):
        return None
    return Refusal(f"{place}.startsAt", "is not between 1970 and 9999")


def _refused_labels(labels: Mapping[str, str], place: str, limits: LabelLimits) -> Refusal | None:
    if not labels:
        return Refusal(place, "is empty; an alert is known by its labels")
    if len(labels) > limits.count:
        return Refusal(place, f"holds {len(labels)} labels, at most {limits.count} are taken")
    for name, value in labels.items():
        reason = _refused_text(name, limits) or _refused_text(value, limits)
        if reason:
            return Refusal(f"{place}[{_shown(name)}]", reason)
    size = incident_spec.stored_size(labels)
    if size > _ALL_LABELS_BYTES:
        return Refusal(place, f"takes {size} bytes, at most {_ALL_LABELS_BYTES} are taken")
    return None


def _refused_text(text: str, limits: LabelLimits) -> str | None:
    character = texts.not_text(text)
    if character:
        return f"holds {character}, which is no text"
    size = len(text.encode())
    if size > limits.length:
        return f"takes {size} bytes, at most {limits.length} are taken"
    return None


def _refused_texts(alert: _Alert, place: str) -> Refusal | None:
    """Look at what only people read: control characters there are replaced when it is stored, the rest is refused."""
    fields = [(f"annotations[{_shown(name)}]", name + text) for name, text in alert.annotations.items()]
    for field, text in [*fields, ("generatorURL", alert.generator_url)]:
        character = texts.not_storable(text)
        if character:
            return Refusal(f"{place}.{field}", f"holds {character}, which is no text")
    return None


def _shown(name: str) -> str:
    return ascii(texts.cut(name, _SHOWN)).replace("'", '"')
