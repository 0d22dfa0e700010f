"""Runbooks and Incidents in a few words, over the real models and the real compiler."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from incident_operator.actions import ACTIONS
from incident_operator.api.incident import Alert, AlertStatus, Incident
from incident_operator.api.meta import ObjectMeta
from incident_operator.api.runbook import Runbook
from incident_operator.core.machine.view import Blocked, Pinned, View
from incident_operator.core.runbooks import compiler
from incident_operator.core.runbooks.compiled import Compiled

START = datetime(2025, 10, 21, 0, 30, 0, tzinfo=UTC)
Json = dict[str, Any]
UNDO: Json = {"sqlExecute": {"connection": "db", "statement": "UPDATE pack SET fresh = FALSE", "maxRows": 1}}
PROBE: Json = {"http": {"connection": "api", "path": "/done"}, "expect": "result.json.done"}


def read(name: str, **more: Any) -> Json:
    """A step that only looks."""
    return {"name": name, "sqlQuery": {"connection": "db", "statement": "SELECT 1"}, **more}


def sql(name: str, **more: Any) -> Json:
    """An act whose fate its marker row tells."""
    return {
        "name": name,
        "sqlExecute": {"connection": "db", "statement": "UPDATE pack SET fresh = TRUE", "maxRows": 1},
        **more,
    }


def post(name: str, **more: Any) -> Json:
    """An act whose fate nobody can look up."""
    return {"name": name, "http": {"connection": "api", "method": "POST", "path": "/do"}, **more}


def keyed(name: str, **more: Any) -> Json:
    """An act that the service does once for each key, however often it is asked."""
    call = {"connection": "api", "method": "POST", "path": "/do", "idempotencyKey": "Idempotency-Key"}
    return {"name": name, "http": call, **more}


def job(name: str, **more: Any) -> Json:
    """A Job."""
    return {"name": name, "job": {"from": "deployment/scheduler", "command": ["build"]}, **more}


def scale(name: str, **more: Any) -> Json:
    """An act that can be taken back without being told how."""
    return {"name": name, "scale": {"target": "deployment/web", "replicas": 5}, **more}


ANYTHING = "size(result) >= 0"
"""What every answer fulfils, for a step of `verify` that is there for its place."""


def runbook(**spec: Any) -> Compiled:
    """A Runbook; stages are lists of the steps above, and a step of `verify` that says nothing takes any answer."""
    if "verify" in spec:
        spec["verify"] = [{"expect": ANYTHING, **step} for step in spec["verify"]]
    whole = {
        "title": "Pricing pack build failure",
        "severity": "P1",
        "serviceAccountName": "rb-pack",
        "match": ['alertname="PackFailed"'],
        **spec,
    }
    compiled = compiler.compile_runbook(Runbook.model_validate({"spec": whole}), None, ACTIONS)
    assert isinstance(compiled, Compiled), compiled
    return compiled


def usual(**changes: Any) -> Compiled:
    """One step in each stage; the act of mitigate is taken back when the alert has resolved."""
    stages: Json = {
        "diagnose": [read("look")],
        "mitigate": [sql("serve", description="Users have prices again.", undo=UNDO)],
        "remediate": [job("rebuild", description="Builds the pack again.")],
        "verify": [read("check")],
    }
    return runbook(**{**stages, **changes})


def alert(number: int = 1, *, resolved: bool = False, **labels: str) -> Alert:
    """One alert of the group."""
    return Alert(
        id=f"{number:064x}",
        starts_at=START - timedelta(minutes=1),
        ends_at=START if resolved else None,
        status=AlertStatus.RESOLVED if resolved else AlertStatus.FIRING,
        labels={"instance": f"scheduler-{number}", **labels},
        summary="No fresh pack",
    )


def incident(*alerts: Alert, annotations: Mapping[str, str] | None = None, **common: str) -> Incident:
    """A new Incident; one alert fires unless others are given."""
    made = Incident(
        metadata=ObjectMeta(
            name="pack-failed-5f2c1-1",
            namespace="prod",
            uid="6c7e1a52-0000-4000-8000-000000000001",
            creation_timestamp=START,
            annotations=dict(annotations or {}),
        )
    )
    spec = made.spec.model_copy(
        update={"alerts": list(alerts) or [alert()], "common_labels": {"alertname": "PackFailed", **common}}
    )
    return made.model_copy(update={"spec": spec})


def by_hand() -> Incident:
    """An Incident that a person opened: without alerts."""
    made = incident()
    return made.model_copy(update={"spec": made.spec.model_copy(update={"alerts": [], "common_labels": {}})})


def view(
    compiled: Compiled | Blocked,
    subject: Incident,
    now: datetime = START,
    editors: tuple[str, ...] | None = (),
    **more: Any,
) -> View:
    """What the machine sees."""
    pinned = compiled if isinstance(compiled, Blocked) else Pinned(compiled, "pack-failed-7d9f", editors)
    return View(subject, pinned, now, **more)
