"""Alerts and webhook messages exactly as Alertmanager writes them. Pure: nothing is sent here.

Format: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>; `test_storm_payload.py` compares
the bytes' meaning with a real Alertmanager's.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from incident_operator.core.alerts import received_alerts

RECEIVER = "incident-operator"
EXTERNAL_URL = "http://alertmanager.storm:9093"
_NEVER = "0001-01-01T00:00:00Z"
_FNV_OFFSET, _FNV_PRIME, _64_BITS = 14695981039346656037, 1099511628211, (1 << 64) - 1


@dataclass(frozen=True)
class Alert:
    """One occurrence, firing or, once it has an end, resolved."""

    labels: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    generator_url: str = ""

    @property
    def status(self) -> str:
        """As the message says it."""
        return "firing" if self.ends_at is None else "resolved"

    @cached_property
    def id(self) -> str:
        """What the operator calls this occurrence in `spec.alerts`."""
        return received_alerts.identity(dict(self.labels), self.starts_at)

    def resolved(self, at: datetime) -> "Alert":
        """The same occurrence, over."""
        return replace(self, ends_at=at)

    def to_json(self) -> dict[str, Any]:
        """As it stands in a message, the fields in Alertmanager's order."""
        return {
            "status": self.status,
            "labels": dict(sorted(self.labels.items())),
            "annotations": dict(sorted(self.annotations.items())),
            "startsAt": rfc3339(self.starts_at),
            "endsAt": _NEVER if self.ends_at is None else rfc3339(self.ends_at),
            "generatorURL": self.generator_url,
            "fingerprint": fingerprint(self.labels),
        }


def message(alerts: Sequence[Alert], group_labels: Mapping[str, str], *, receiver: str = RECEIVER) -> dict[str, Any]:
    """One notification of one group."""
    firing = any(alert.ends_at is None for alert in alerts)
    return {
        "receiver": receiver,
        "status": "firing" if firing else "resolved",
        "alerts": [alert.to_json() for alert in alerts],
        "groupLabels": dict(sorted(group_labels.items())),
        "commonLabels": _common(alert.labels for alert in alerts),
        "commonAnnotations": _common(alert.annotations for alert in alerts),
        "externalURL": EXTERNAL_URL,
        "version": "4",
        "groupKey": "{}:" + _matchers(group_labels),
        "truncatedAlerts": 0,
    }


def body(alerts: Sequence[Alert], group_labels: Mapping[str, str]) -> bytes:
    """The same as bytes, as Go's encoder would write them."""
    return json.dumps(message(alerts, group_labels), separators=(",", ":"), ensure_ascii=False).encode()


def rfc3339(moment: datetime) -> str:
    """Go's RFC3339Nano: no zeros at the end of the fraction, `Z` for UTC."""
    whole = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{whole}{fraction}Z"


def milliseconds(moment: datetime) -> datetime:
    """Prometheus' own precision."""
    return moment - timedelta(microseconds=moment.microsecond % 1000)


def fingerprint(labels: Mapping[str, str]) -> str:
    """Alertmanager's: FNV-1a, 64 bits, over the sorted labels."""
    digest = _FNV_OFFSET
    for name in sorted(labels):
        for byte in b"%b\xff%b\xff" % (name.encode(), labels[name].encode()):
            digest = (digest ^ byte) * _FNV_PRIME & _64_BITS
    return f"{digest:016x}"


def _common(maps: Iterable[Mapping[str, str]]) -> dict[str, str]:
    first, *others = maps
    return {name: value for name, value in sorted(first.items()) if all(each.get(name) == value for each in others)}


def _matchers(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}={json.dumps(labels[name], ensure_ascii=False)}" for name in sorted(labels)) + "}"
