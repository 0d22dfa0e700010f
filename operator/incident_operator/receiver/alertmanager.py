"""The open alerts that an Alertmanager's API tells of: from its answer to alerts as the webhook tells them.

Format: `alertGroups` of <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>. Fields that are not
used here are not looked at.
"""

from datetime import datetime

import msgspec

from incident_operator.api.incident import AlertStatus
from incident_operator.receiver import checking, json_text, payload
from incident_operator.receiver.checking import LabelLimits, RawAlert
from incident_operator.receiver.payload import Message

_ACTIVE = "active"


class _Status(msgspec.Struct):
    state: str


class _Alert(RawAlert, rename="camel", kw_only=True):
    status: _Status


class _Receiver(msgspec.Struct):
    name: str


class _Group(msgspec.Struct):
    receiver: _Receiver
    alerts: list[_Alert]


def read(body: bytes, limits: LabelLimits, receiver: str, at: datetime | None) -> Message:
    """Return the alerts that are neither silenced nor inhibited, and that go to the receiver (to any, if it is empty).

    `at` is when the answer was given, by Alertmanager's clock: what ended before then has resolved. What is not told is
    not judged. Raises `MalformedError`, and nothing else, where the answer cannot be read.
    """
    groups = checking.converted(json_text.read(body), list[_Group])
    return payload.of(
        [
            checking.checked(alert, _status(alert, at), f"[{number}].alerts[{index}]", limits)
            for number, group in enumerate(groups)
            if receiver in {"", group.receiver.name}
            for index, alert in enumerate(group.alerts)
            if alert.status.state == _ACTIVE
        ]
    )


def _status(alert: RawAlert, at: datetime | None) -> AlertStatus:
    ended = at is not None and alert.end is not None and alert.end <= at
    return AlertStatus.RESOLVED if ended else AlertStatus.FIRING
