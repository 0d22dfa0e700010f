"""Objects to send to the apiserver: a good one of each kind, and ways to bend it."""

from typing import Any

from incident_operator.api.meta import API_VERSION

Json = dict[str, Any]

HTTP: Json = {"connection": "api"}
SQL: Json = {"connection": "db", "statement": "UPDATE t SET a = 1", "maxRows": 1}
EXEC: Json = {"target": "deployment/scheduler", "command": ["true"]}
JOB: Json = {"from": "deployment/scheduler", "command": ["true"]}
SCALE: Json = {"target": "deployment/web", "replicas": 3}
FLOOR: Json = {"target": "deployment/web", "atLeast": 3}
LOGS: Json = {"from": "deployment/web"}
GET: Json = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
UNTIL: Json = {"every": "2s", "for": "2m"}


def runbook(**spec: Any) -> Json:
    """A Runbook with these fields of spec beside the required ones."""
    required = {"title": "Latency", "serviceAccountName": "rb", "match": ['alertname="Latency"']}
    return _object("Runbook", {**required, **spec})


def step(name: str = "one", **fields: Any) -> Json:
    """A Runbook with one step, in mitigate."""
    return runbook(mitigate=[{"name": name, **fields}])


def parameter(**fields: Any) -> Json:
    """A Runbook with one parameter."""
    return runbook(parameters=[{"name": "p", **fields}])


def connection(**spec: Any) -> Json:
    """A Connection."""
    return _object("Connection", spec)


def incident(**spec: Any) -> Json:
    """An Incident."""
    return _object("Incident", spec)


def without(document: Json, *fields: str) -> Json:
    """The object without these fields of spec."""
    return {**document, "spec": {key: value for key, value in document["spec"].items() if key not in fields}}


def _object(kind: str, spec: Json) -> Json:
    metadata = {"generateName": "case-"}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
