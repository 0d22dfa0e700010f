"""Alertmanager's webhook message, version 4: from bytes to alerts, or to the reason why not.

Format: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>. Fields that are not used here are
not looked at. A message that cannot be read is refused whole.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from incident_operator.api.incident import AlertStatus
from incident_operator.core.alerts import received_alerts
from incident_operator.core.alerts.received_alerts import ReceivedAlert
from incident_operator.receiver import checking, json_text
from incident_operator.receiver.checking import LabelLimits, RawAlert
from incident_operator.receiver.rejections import Rejection


@dataclass(frozen=True, slots=True)
class Message:
    """What a message tells. Made by `of`."""

    alerts: tuple[ReceivedAlert, ...]
    """Each once."""
    refused: tuple[Rejection, ...]
    """One for each alert that cannot be stored."""
    truncated: int
    """How many alerts Alertmanager left out."""


class _Alert(RawAlert, rename="camel", kw_only=True):
    status: Literal["firing", "resolved"]


class _Payload(msgspec.Struct, rename="camel"):
    version: Literal["4"]
    alerts: list[_Alert]
    truncated_alerts: Annotated[int, msgspec.Meta(ge=0, le=10**9)] = 0


def read(body: bytes, limits: LabelLimits) -> Message:
    """Return what the message tells. Raises `MalformedError`, and nothing else, where it cannot be read."""
    payload = checking.converted(json_text.read(body), _Payload)
    return of(
        [
            checking.checked(alert, AlertStatus(alert.status), f"alerts[{index}]", limits)
            for index, alert in enumerate(payload.alerts)
        ],
        payload.truncated_alerts,
    )


def of(checked: list[ReceivedAlert | Rejection], truncated: int = 0) -> Message:
    """Return a message of alerts that were checked."""
    return Message(
        alerts=received_alerts.distinct(each for each in checked if isinstance(each, ReceivedAlert)),
        refused=tuple(each for each in checked if isinstance(each, Rejection)),
        truncated=truncated,
    )
