"""What expressions may know: the Incident, its parameters, and what steps found out."""

from collections.abc import Mapping
from typing import Any

from incident_operator.api.incident import Alert, Incident, StepRecord
from incident_operator.api.meta import rfc3339
from incident_operator.core import sanitize
from incident_operator.core.expressions.expr import Facts, StepFact


def facts(incident: Incident) -> Facts:
    """Return the variables that every step expression sees."""
    return Facts(
        incident={
            "name": incident.metadata.name,
            "severity": incident.spec.severity.value,
            "resolved": incident.is_over,
            "alerts": [_alert(incident, alert) for alert in incident.spec.alerts],
        },
        params=incident.status.parameters,
        steps={record.name: _fact(record) for record in incident.status.steps},
    )


def alert_variable(incident: Incident) -> Mapping[str, Any]:
    """Return `alert` as parameters see it: the first alert, with the labels that all share."""
    if not incident.spec.alerts:
        return {"labels": dict(incident.spec.common_labels), "annotations": {}, "startsAt": "", "status": "firing"}
    return _alert(incident, min(incident.spec.alerts, key=lambda alert: (alert.starts_at, alert.id)))


def _alert(incident: Incident, alert: Alert) -> dict[str, Any]:
    return {
        "labels": {**incident.spec.common_labels, **alert.labels},
        "annotations": {**alert.annotations, **_told(alert)},
        "startsAt": rfc3339(alert.starts_at),
        "status": alert.status.value,
    }


def _told(alert: Alert) -> dict[str, str]:
    """Return the annotations that have a field of their own."""
    own = {
        "summary": alert.summary,
        "description": alert.description,
        "runbook_url": alert.runbook_url,
        "dashboard_url": alert.dashboard_url,
    }
    return {name: text for name, text in own.items() if text}


def _fact(record: StepRecord) -> StepFact:
    outputs = sanitize.plain(record.outputs) if record.outputs else record.outputs
    return StepFact(state=record.state.value, outputs=outputs, note=record.summary)
