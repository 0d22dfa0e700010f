"""Alertmanager's messages, as its webhook sends them, and Runbooks that answer them."""

import json
from typing import Any

from incident_operator.core.alerts import received_alerts
from incident_operator.core.alerts.received_alerts import LabelLimits, ReceivedAlert
from incident_operator.receiver.alertmanager import Message, read_message

STARTED = "2025-10-21T00:10:12.5Z"
ENDED = "2025-10-21T00:40:00Z"
NOT_ENDED = "0001-01-01T00:00:00Z"
LIMITS = LabelLimits()

Json = dict[str, Any]


def alert(name: str = "PackFailed", *, starts: str = STARTED, ends: str = NOT_ENDED, **labels: str) -> Json:
    return {
        "status": "firing",
        "labels": {"alertname": name, **labels},
        "annotations": {"summary": f"{name} fires"},
        "startsAt": starts,
        "endsAt": ends,
        "generatorURL": "http://prometheus.monitoring:9090/graph?g0.expr=up",
        "fingerprint": "0123456789abcdef",
    }


def resolved(name: str = "PackFailed", *, starts: str = STARTED, ends: str = ENDED, **labels: str) -> Json:
    return {**alert(name, starts=starts, ends=ends, **labels), "status": "resolved"}


def message(*alerts: Json, truncated: int = 0) -> Json:
    return {
        "version": "4",
        "groupKey": '{}:{alertname="PackFailed"}',
        "truncatedAlerts": truncated,
        "status": "firing",
        "receiver": "incident-operator",
        "groupLabels": {"alertname": "PackFailed"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": list(alerts),
    }


def body(*alerts: Json, truncated: int = 0) -> bytes:
    return json.dumps(message(*alerts, truncated=truncated)).encode()


def read(*alerts: Json, truncated: int = 0) -> Message:
    return read_message(body(*alerts, truncated=truncated), LIMITS)


def received(made: Json) -> ReceivedAlert:
    (only,) = read(made).alerts
    return only


def received_id(made: Json) -> str:
    return received(made).id


def fingerprint(made: Json) -> str:
    return received_alerts.fingerprint(made["labels"])


def runbook(
    name: str = "pack",
    *,
    match: tuple[str, ...] = ('alertname="PackFailed"',),
    group_by: tuple[str, ...] = ("pack_date",),
    namespace: str = "prod",
    severity: str = "P1",
) -> Json:
    spec = {"title": name, "severity": severity, "match": list(match), "groupBy": list(group_by)}
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {**spec, "serviceAccountName": "rb"}}
