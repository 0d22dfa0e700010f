"""Reads what one alert tells, whoever tells it: Alertmanager's webhook, or its API, or what speaks as they do.

Null is the same as nothing. An alert that cannot be understood is refused alone, for the others that came with it are not its
senders' to lose; texts are never a reason: what an Incident keeps of them is cut and cleaned.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec

from incident_operator.api.incident import AlertStatus
from incident_operator.core import texts
from incident_operator.core.alerts import kept, received_alerts
from incident_operator.core.alerts.kept import LabelLimits
from incident_operator.core.alerts.received_alerts import ReceivedAlert
from incident_operator.core.outcomes import Json
from incident_operator.receiver import json_text
from incident_operator.receiver.rejections import MalformedError, Rejection

_Zoned = Annotated[datetime, msgspec.Meta(tz=True)]
_Raw = TypeVar("_Raw", bound=msgspec.Struct)
_Texts = dict[str, str | None]
_FIRST = datetime(1970, 1, 2, tzinfo=UTC)
_LAST = datetime(9999, 12, 30, tzinfo=UTC)
ALERT_BYTES = 4 * 1024 * 1024
"""Of one alert, as it is written."""
_REASON = 200


class Timestamp:
    """A time that was told, to the millisecond; `decoded` makes it of a text. No dataclass, which would be an object."""

    __slots__ = ("at",)

    def __init__(self, at: datetime) -> None:
        self.at = at

    @property
    def sensible(self) -> bool:
        """Whether it is one that can be stored; Go's zero time, say, is not."""
        return _FIRST <= self.at <= _LAST


class RawAlert(msgspec.Struct, rename="camel", kw_only=True):
    """What every source tells of an alert. Field names are Alertmanager's, but for `dashboardURL`, which is Grafana's."""

    labels: _Texts
    starts_at: Timestamp
    ends_at: Timestamp | None = None
    annotations: _Texts | None = None
    generator_url: str | None = msgspec.field(default=None, name="generatorURL")
    dashboard_url: Any = msgspec.field(default=None, name="dashboardURL")

    @property
    def end(self) -> datetime | None:
        """When it ended, or will if nobody tells of it any more; None where no sensible time is told."""
        return self.ends_at.at.astimezone(UTC) if self.ends_at and self.ends_at.sensible else None


def decoded(written: bytes, wanted: type[_Raw], place: str) -> _Raw | Rejection:
    """Return an alert as a source writes it, or why it cannot be understood; `place` is where the message tells of it."""
    if len(written) > ALERT_BYTES:
        return Rejection(place, f"has {len(written)} bytes; at most {ALERT_BYTES} are read of one alert")
    try:
        return msgspec.convert(_told(json_text.read(written)), wanted, dec_hook=_timestamp)
    except msgspec.ValidationError as error:
        return _rejection(error, place)
    except MalformedError as error:
        return Rejection(place, error.reason if error.field == "body" else str(error))


def checked(
    alert: RawAlert, status: AlertStatus, place: str, limits: LabelLimits = kept.LIMITS
) -> ReceivedAlert | Rejection:
    """Return the alert as it may be stored, or why it may not; `place` is where the message tells of it."""
    labels = _present(alert.labels)
    if not alert.starts_at.sensible:
        return Rejection(f"{place}.startsAt", "is not between 1970 and 9999")
    if not labels:
        return Rejection(f"{place}.labels", "is empty; labels identify an alert")
    return received_alerts.of(
        labels,
        alert.starts_at.at.astimezone(UTC),
        alert.end if status is AlertStatus.RESOLVED else None,
        status=status,
        annotations=_annotations(alert),
        generator_url=alert.generator_url or "",
        limits=limits,
    )


def _annotations(alert: RawAlert) -> Mapping[str, str]:
    """Return the annotations; a dashboard that only Grafana's own field names is one of them."""
    told = _present(alert.annotations or {})
    if isinstance(alert.dashboard_url, str) and alert.dashboard_url and not told.get(kept.DASHBOARD_URL):
        return {**told, kept.DASHBOARD_URL: alert.dashboard_url}
    return told


def _present(told: Mapping[str, str | None]) -> dict[str, str]:
    return {name: text for name, text in told.items() if text is not None}


def _told(alert: Json) -> Json:
    """Return an alert without its null fields."""
    return {name: value for name, value in alert.items() if value is not None} if isinstance(alert, dict) else alert


def _timestamp(_: type, value: Any) -> Timestamp:
    text = value if isinstance(value, str) else ""
    try:
        return Timestamp(msgspec.convert(received_alerts.to_milliseconds(text) or value, _Zoned))
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error  # msgspec tells the place of this one only


def _rejection(error: msgspec.ValidationError, place: str) -> Rejection:
    reason, _, inside = str(error).partition(" - at ")
    field = inside.strip("`").removeprefix("$")
    return Rejection(
        place + texts.cut(field, _REASON), texts.cut(reason[:1].lower() + reason[1:].replace(" | null", ""), _REASON)
    )
