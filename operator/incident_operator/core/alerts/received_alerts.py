"""One alert as a message tells of it, and what makes it the same alert in another message."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson

from incident_operator.api.incident import AlertStatus
from incident_operator.core.alerts import kept as kept_texts
from incident_operator.core.alerts.kept import LabelLimits

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SEPARATOR = "-"
_FINGERPRINT_LENGTH = 40
_START_IN_ID = re.compile(rf"^[0-9a-f]{{{_FINGERPRINT_LENGTH}}}{_SEPARATOR}([0-9a-f]{{1,11}})$")
_FINER_THAN_MILLISECONDS = re.compile(r"(\.\d{3})\d+")


@dataclass(frozen=True, slots=True)
class ReceivedAlert:
    """One alert, from its start to its end. Made by `of`."""

    id: str
    """`<fingerprint>-<milliseconds since 1970, hex>`: the same alert in every message, whoever sends it.

    No finer, for Alertmanager's webhook tells nanoseconds, and its API milliseconds (cut, not rounded).
    """
    status: AlertStatus
    starts_at: datetime
    labels: Mapping[str, str]
    """All of them, whole: who it is, and who takes it."""
    kept: Mapping[str, str]
    """Its labels as an Incident holds them: cut, and clean."""
    ends_at: datetime | None = None
    annotations: Mapping[str, str] | None = None
    generator_url: str = ""
    end_told_by: str = ""
    """Who reported the end, where it was not Alertmanager's own message."""

    @property
    def firing(self) -> bool:
        """Whether it goes on."""
        return self.status is AlertStatus.FIRING


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return 160 bits of the SHA-256 over the sorted labels: unlike Alertmanager's own, impractical to collide."""
    return hashlib.sha256(orjson.dumps(sorted(labels.items()))).hexdigest()[:_FINGERPRINT_LENGTH]


def identity(labels: Mapping[str, str], starts_at: datetime) -> str:
    """Return the id of the alert with these labels that started then."""
    return f"{fingerprint(labels)}{_SEPARATOR}{(starts_at - _EPOCH) // timedelta(milliseconds=1):x}"


def to_milliseconds(rfc3339: str) -> str:
    """Return a time as Alertmanager's API would write it; parsers round nanoseconds, maybe up to the next millisecond."""
    return _FINER_THAN_MILLISECONDS.sub(r"\1", rfc3339, count=1)


def fingerprint_of(alert_id: str) -> str:
    """Return the part of an id that all alerts of the same labels share."""
    return alert_id.partition(_SEPARATOR)[0]


def started_at(alert_id: str) -> datetime | None:
    """Return the start that an id tells, finer than the seconds that an Incident shows; None for one made by hand."""
    told = _START_IN_ID.search(alert_id)
    return _EPOCH + timedelta(milliseconds=int(told[1], 16)) if told else None


def of(
    labels: Mapping[str, str],
    starts_at: datetime,
    ends_at: datetime | None = None,
    *,
    status: AlertStatus = AlertStatus.FIRING,
    annotations: Mapping[str, str] | None = None,
    generator_url: str = "",
    limits: LabelLimits = kept_texts.LIMITS,
) -> ReceivedAlert:
    """Return the alert with its identity; of its texts what an Incident keeps."""
    return ReceivedAlert(
        identity(labels, starts_at),
        status,
        starts_at,
        labels,
        kept_texts.labels(labels, limits),
        ends_at,
        kept_texts.annotations(annotations or {}),
        kept_texts.generator(generator_url),
    )


def distinct(alerts: Iterable[ReceivedAlert]) -> tuple[ReceivedAlert, ...]:
    """Return each alert once; where a message tells of one twice, that it resolved is the later news."""
    by_id: dict[str, ReceivedAlert] = {}
    for alert in alerts:
        if alert.id not in by_id or not alert.firing:
            by_id[alert.id] = alert
    return tuple(by_id.values())
