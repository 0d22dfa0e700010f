"""What the apiserver takes and refuses by itself: every constraint with a good object and a bad one."""

from dataclasses import dataclass

import pytest

from incident_operator.crdgen import kinds
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import Invalid, Kube
from tests.crds.objects import (
    EXEC,
    FLOOR,
    GET,
    HTTP,
    JOB,
    LOGS,
    SCALE,
    SQL,
    UNTIL,
    Json,
    connection,
    incident,
    parameter,
    runbook,
    step,
    without,
)

POSTGRES = {"host": "db", "database": "app"}
URL = {"url": "http://api:8080"}
QUERY = {"statement": "SELECT 1"}
NAMES_UNIQUE = "a step's name is unique in the whole Runbook, whatever its stage"


@dataclass(frozen=True)
class Pair:
    """A constraint, objects that keep it, one that breaks it, and what the apiserver says to that."""

    sentence: str
    good: tuple[Json, ...]
    bad: Json
    says: str


ACTIONS = [
    Pair("a step has one action", (step(http=HTTP),), step(sqlExecute=SQL, scale=SCALE),
         "spec.mitigate[0]: Invalid value: exactly one action (found sqlExecute, scale)"),
    Pair("a step has an action", (step(logs=LOGS), step(get=GET), step(job=JOB)), step(), "exactly one action (found none)"),
    Pair("an undo has one action", (step(sqlExecute=SQL, undo={"sqlExecute": SQL}),),
         step(sqlExecute=SQL, undo={"sqlExecute": SQL, "job": JOB}),
         "spec.mitigate[0].undo: Invalid value: exactly one action (found sqlExecute, job)"),
    Pair("a probe has one action", (step(http=HTTP, probe={"get": GET, "expect": "true"}),),
         step(http=HTTP, probe={"expect": "true"}), "exactly one action (found none)"),
    Pair("a probe says what it expects", (step(http=HTTP, probe={"get": GET, "expect": "true"}),),
         step(http=HTTP, probe={"get": GET}), "probe.expect: Required value"),
    Pair("logs have one source", (step(logs=LOGS), step(logs={"selector": {"app": "web"}})),
         step(logs={"from": "deployment/web", "selector": {"app": "web"}}), "exactly one source (found from, selector)"),
    Pair("logs have a source", (step(logs=LOGS),), step(logs={"tail": 5}), "exactly one source (found none)"),
    Pair("a selector selects", (step(logs={"selector": {"app": "web"}}),), step(logs={"selector": {}}),
         "should have at least 1 properties"),
    Pair("get asks by name or selector", (step(get=GET), step(get={"apiVersion": "v1", "kind": "Pod", "selector": {"a": "b"}})),
         step(get={**GET, "selector": {"a": "b"}}), "exactly one way to find objects (found name, selector)"),
    Pair("get reads no Secret", (step(get={"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}),),
         step(get={"apiVersion": "v1", "kind": "Secret", "name": "x"}), "Secrets are never read into an Incident"),
    Pair("a job has one source", (step(job=JOB), step(job={"template": {"spec": {"containers": []}}})),
         step(job={**JOB, "template": {"spec": {}}}), "exactly one source (found from, template)"),
    Pair("a job comes from a workload", (step(job={"from": "daemonset/agent"}),), step(job={"from": "scheduler"}),
         "job.from: Invalid value"),
    Pair("exec has a command", (step(exec=EXEC),), step(exec={**EXEC, "command": []}), "should have at least 1 items"),
    Pair("exec has a target", (step(exec={**EXEC, "target": "pod/web-0"}),), step(exec={**EXEC, "target": "job/web"}),
         "exec.target: Invalid value"),
    Pair("sqlExecute has a statement or statements", (step(sqlExecute=SQL), step(sqlExecute={
         "connection": "db", "maxRows": 1, "statements": [QUERY]})), step(sqlExecute={**SQL, "statements": [QUERY]}),
         "either statement or statements is needed, and not both"),
    Pair("sqlExecute has something to execute", (step(sqlExecute=SQL),), step(sqlExecute={"connection": "db", "maxRows": 1}),
         "either statement or statements is needed, and not both"),
    Pair("params belong to a statement", (step(sqlExecute={**SQL, "params": {"a": [1, {"b": None}]}}),),
         step(sqlExecute={"connection": "db", "maxRows": 1, "statements": [QUERY], "params": {"a": 1}}),
         "write params in each of statements"),
    Pair("sqlExecute has a row limit", (step(sqlExecute=SQL),), step(sqlExecute={"connection": "db", "statement": "x"}),
         "sqlExecute.maxRows: Required value"),
    Pair("a row limit is not negative", (step(sqlExecute={**SQL, "maxRows": 0}),), step(sqlExecute={**SQL, "maxRows": -1}),
         "should be greater than or equal to 0"),
    Pair("an idempotency key is for changes", (step(http={**HTTP, "method": "POST", "idempotencyKey": "Idempotency-Key"}),),
         step(http={**HTTP, "idempotencyKey": "Idempotency-Key"}), "idempotencyKey is for requests that change something"),
    Pair("a safe request needs no idempotency key", (step(http={**HTTP, "method": "POST", "safe": True}),),
         step(http={**HTTP, "method": "POST", "safe": True, "idempotencyKey": "K"}),
         "idempotencyKey is for requests that change something"),
    Pair("an idempotency key is a header's name", (step(http={**HTTP, "method": "POST", "idempotencyKey": "X-Key"}),),
         step(http={**HTTP, "method": "POST", "idempotencyKey": "X Key:"}), "idempotencyKey: Invalid value"),
    Pair("GET carries no body", (step(http={**HTTP, "method": "PUT", "body": "x"}),), step(http={**HTTP, "body": "x"}),
         "GET and HEAD carry no body"),
    Pair("a path starts at the root", (step(http={**HTTP, "path": "/a?b=1"}),), step(http={**HTTP, "path": "a"}),
         "http.path: Invalid value"),
    Pair("a method is one of six", (step(http={**HTTP, "method": "DELETE"}),), step(http={**HTTP, "method": "TRACE"}),
         'Unsupported value: "TRACE"'),
    Pair("http takes any JSON", (step(http={**HTTP, "method": "POST", "json": {"a": [1, None, {"b": "c"}]}}),
         step(http={**HTTP, "method": "POST", "json": "text"})), step(http={"path": "/"}), "http.connection: Required value"),
    Pair("replicas are a number or an expression", (step(scale=SCALE), step(scale={**SCALE, "replicas": "${params.n + 2}"})),
         step(scale={**SCALE, "replicas": "many"}), "replicas is a number from 0 to maxReplicas, or an expression"),
    Pair("replicas keep below the limit", (step(scale={**SCALE, "replicas": 5, "maxReplicas": 5}),),
         step(scale={**SCALE, "replicas": 6, "maxReplicas": 5}), "replicas is a number from 0 to maxReplicas"),
    Pair("a floor is a number or an expression", (step(scale=FLOOR), step(scale={**FLOOR, "atLeast": "${params.n + 2}"})),
         step(scale={**FLOOR, "atLeast": "many"}), "atLeast is a number from 0 to maxReplicas, or an expression"),
    Pair("it scales to a number or to a floor", (step(scale={**SCALE, "lower": True}),), step(scale={**SCALE, "atLeast": 2}),
         "exactly one number (found replicas, atLeast)"),
    Pair("a daemonset has no replicas", (step(scale={**SCALE, "target": "statefulset/db"}),),
         step(scale={**SCALE, "target": "daemonset/agent"}), "scale.target: Invalid value"),
]  # fmt: skip

STEPS = [
    Pair("until polls expect", (step(http=HTTP, expect="true", until=UNTIL),), step(http=HTTP, until=UNTIL),
         "until polls expect, so it needs one"),
    Pair("until polls at least once", (step(http=HTTP, expect="true", until={"every": "2m", "for": "2m"}),),
         step(http=HTTP, expect="true", until={"every": "3m", "for": "2m"}), "every may not be longer than for"),
    Pair("until waits between polls", (step(http=HTTP, expect="true", until={"every": "100ms", "for": "1s"}),),
         step(http=HTTP, expect="true", until={"every": "0s", "for": "1s"}), "every has to be longer than 0s"),
    Pair("a duration has a unit", (step(http=HTTP, timeout="1h30m"),), step(http=HTTP, timeout="90"), "timeout: Invalid value"),
    Pair("a timeout is not zero", (step(http=HTTP, timeout="1ms"),), step(http=HTTP, timeout="0s"),
         "timeout has to be longer than 0s"),
    Pair("an approval lives for a while", (step(http=HTTP, approval={"expiresAfter": "5m"}), step(http=HTTP, approval={})),
         step(http=HTTP, approval={"expiresAfter": "0s"}), "expiresAfter has to be longer than 0s"),
    Pair("undoOn needs an undo", (step(scale=SCALE, undoOn=["Failed"]), step(job=JOB, undo={"job": JOB}, undoOn=[])),
         step(job=JOB, undoOn=["Failed"]), "undoOn says when to undo, but this step has no undo"),
    Pair("undoOn names each case once", (step(scale=SCALE, undoOn=["Failed", "Resolved"]),),
         step(scale=SCALE, undoOn=["Failed", "Failed"]), "Duplicate value"),
    Pair("an undo's name is taken", (step("undoing", http=HTTP),), step("undo-it", http=HTTP), "undo-… is the name of a step's undo"),
    Pair("a step's name is a DNS label", (step("serve-last-good", http=HTTP),), step("Serve", http=HTTP), "name: Invalid value"),
    Pair("a step's name is not too long", (step("a" * 63, http=HTTP),), step("a" * 64, http=HTTP), "may not be more than 63"),
    Pair("names are unique in a stage",
         (runbook(verify=[{"name": "a", "http": HTTP}, {"name": "b", "http": HTTP}]),),
         runbook(verify=[{"name": "a", "http": HTTP}, {"name": "a", "http": HTTP}]), "Duplicate value"),
    Pair("names are unique across stages",
         (runbook(diagnose=[{"name": "a", "http": HTTP}], verify=[{"name": "b", "http": HTTP}]),),
         runbook(diagnose=[{"name": "a", "http": HTTP}], verify=[{"name": "a", "http": HTTP}]), NAMES_UNIQUE),
    Pair("retry tries at least once", (step(http=HTTP, retry={"attempts": 3}),), step(http=HTTP, retry={"attempts": 0}),
         "retry.attempts: Invalid value"),
    Pair("onFailure is one of three", (step(http=HTTP, onFailure="continue"),), step(http=HTTP, onFailure="ignore"),
         'Unsupported value: "ignore"'),
    Pair("an expression is not endless", (step(http=HTTP, when="x" * 1024),), step(http=HTTP, when="x" * 1025),
         "may not be more than 1024"),
]  # fmt: skip

RUNBOOKS = [
    Pair("a runbook has a title", (runbook(),), without(runbook(), "title"), "spec.title: Required value"),
    Pair("a runbook acts as somebody", (runbook(),), without(runbook(), "serviceAccountName"),
         "spec.serviceAccountName: Required value"),
    Pair("a runbook matches something", (runbook(match=["a=b", "c!~d"]),), runbook(match=[]), "should have at least 1 items"),
    Pair("a runbook has a spec", (runbook(),), {**runbook(), "spec": None}, "spec: Required value"),
    Pair("severity is one of five", (runbook(severity="P0"),), runbook(severity="P5"), 'Unsupported value: "P5"'),
    Pair("an objective is a duration", (runbook(objectives={"resolve": "2h"}),), runbook(objectives={"resolve": "PT2H"}),
         "spec.objectives.resolve: Invalid value"),
    Pair("a parameter comes from somewhere", (parameter(type="date", **{"from": "alert.labels.d"}), parameter(type="int", default="3")),
         parameter(type="date"), "a parameter needs from, or default, or both"),
    Pair("a pattern is for strings", (parameter(type="string", default="a", pattern="[a-z]+"),),
         parameter(type="int", default="1", pattern="[a-z]+"), "pattern is for parameters of type string"),
    Pair("an enum is for strings", (parameter(type="string", default="a", enum=["a", "b"]),),
         parameter(type="date", default="a", enum=["a"]), "enum is for parameters of type string"),
    Pair("an enum has its default", (parameter(type="string", default="a", enum=["a"]),),
         parameter(type="string", default="c", enum=["a", "b"]), "default has to be one of enum"),
    Pair("an enum has values", (parameter(type="string", default="a", enum=["a"]),),
         parameter(type="string", default="a", enum=[]), "should have at least 1 items"),
    Pair("min is for numbers", (parameter(type="int", default="1", min=0),), parameter(type="string", default="1", min=0),
         "min is for parameters of type int"),
    Pair("max is for numbers", (parameter(type="int", default="1", max=9),), parameter(type="date", default="1", max=9),
         "max is for parameters of type int"),
    Pair("min is below max", (parameter(type="int", default="1", min=1, max=1),), parameter(type="int", default="1", min=2, max=1),
         "min may not be above max"),
    Pair("a parameter's name is an identifier", (parameter(type="int", default="1"),),
         runbook(parameters=[{"name": "pack-date", "type": "int", "default": "1"}]), "spec.parameters[0].name: Invalid value"),
    Pair("parameters' names are unique", (parameter(type="int", default="1"),),
         runbook(parameters=[{"name": "p", "type": "int", "default": "1"}] * 2), "Duplicate value"),
]  # fmt: skip

CONNECTIONS = [
    Pair("a connection holds what its type says",
         (connection(type="postgres", postgres=POSTGRES), connection(type="http", http=URL),
          connection(type="prometheus", prometheus=URL, secretRef={"name": "s"})),
         connection(type="postgres", http=URL), "type is postgres, so exactly spec.postgres has to be set"),
    Pair("a Secret for an Alertmanager is read as an account",
         (connection(type="alertmanager", alertmanager=URL), connection(type="alertmanager", alertmanager={**URL,
          "serviceAccountName": "reads-alerts", "receiver": "incident-operator"}, secretRef={"name": "s"})),
         connection(type="alertmanager", alertmanager=URL, secretRef={"name": "s"}),
         "secretRef needs alertmanager.serviceAccountName"),
    Pair("an Alertmanager is asked at a url, or each at an address",
         (connection(type="alertmanager", alertmanager=URL),
          connection(type="alertmanager", alertmanager={"addresses": [URL["url"], "http://am-1.monitoring.svc:9093"]})),
         connection(type="alertmanager", alertmanager={**URL, "addresses": [URL["url"]]}),
         "alertmanager needs either url or addresses"),
    Pair("an Alertmanager is somewhere", (connection(type="alertmanager", alertmanager=URL),),
         connection(type="alertmanager", alertmanager={"receiver": "x"}), "alertmanager needs either url or addresses"),
    Pair("a connection holds nothing else", (connection(type="http", http=URL),),
         connection(type="http", http=URL, prometheus=URL), "type is http, so exactly spec.http has to be set"),
    Pair("a connection holds something", (connection(type="http", http=URL),), connection(type="http"),
         "type is http, so exactly spec.http has to be set"),
    Pair("a type is one that is known", (connection(type="http", http=URL),), connection(type="ftp"), 'Unsupported value: "ftp"'),
    Pair("a URL is http or https", (connection(type="http", http={"url": "https://api/v1"}),),
         connection(type="http", http={"url": "file:///etc/passwd"}), "spec.http.url: Invalid value"),
    Pair("a URL holds no credentials", (connection(type="http", http=URL),),
         connection(type="http", http={"url": "http://user:pw@api"}), "spec.http.url: Invalid value"),
    Pair("a port is a port", (connection(type="postgres", postgres={**POSTGRES, "port": 5433}),),
         connection(type="postgres", postgres={**POSTGRES, "port": 70000}), "should be less than or equal to 65535"),
]  # fmt: skip

ALERT = {"id": "9c1f", "startsAt": "2025-10-21T00:30:04Z"}
INCIDENTS = [
    Pair("an alert has a time", (incident(alerts=[ALERT]), incident()), incident(alerts=[{"id": "9c1f", "startsAt": "yesterday"}]),
         "must be of type date-time"),
    Pair("an alert is firing or resolved", (incident(alerts=[{**ALERT, "status": "resolved"}]),),
         incident(alerts=[{**ALERT, "status": "suppressed"}]), 'Unsupported value: "suppressed"'),
    Pair("a runbook is named as objects are", (incident(runbookRef={"name": "rb"}),), incident(runbookRef={"name": "../rb"}),
         "spec.runbookRef.name: Invalid value"),
]  # fmt: skip

TABLE = [*ACTIONS, *STEPS, *RUNBOOKS, *CONNECTIONS, *INCIDENTS]
CHANGES = ("runbookRef is immutable", "severity is immutable", "group is immutable")
"""Constraints on changes of an Incident; see below."""


@pytest.mark.cluster
@pytest.mark.parametrize("pair", TABLE, ids=lambda pair: pair.sentence)
async def test_the_apiserver_takes_the_good_and_refuses_the_bad(admin: Kube, namespace: str, pair: Pair) -> None:
    for good in pair.good:
        await admin.create(_collection(namespace, good), good, dry_run=True)
    with pytest.raises(Invalid) as refused:
        await admin.create(_collection(namespace, pair.bad), pair.bad, dry_run=True)
    assert pair.says in refused.value.message


def test_every_rule_in_the_crds_has_an_object_that_breaks_it() -> None:
    refusals = [pair.says for pair in TABLE] + list(CHANGES)
    messages = {message for kind in kinds.ALL for message in _messages(kinds.definition(kind))}
    untested = [message for message in messages if not any(_tells(refusal, message) for refusal in refusals)]
    assert untested == []


COMPUTED = {"exactly the member that type names has to be set": "so exactly spec."}
"""Messages that the apiserver replaces by a computed one, with what that says."""


def _tells(refusal: str, message: str) -> bool:
    return refusal in message or COMPUTED.get(message, message) in refusal


def _messages(node: object) -> list[str]:
    if isinstance(node, list):
        return [message for child in node for message in _messages(child)]
    if not isinstance(node, dict):
        return []
    own = [rule["message"] for rule in node.get("x-kubernetes-validations", [])]
    return own + [message for child in node.values() for message in _messages(child)]


def _collection(namespace: str, document: Json) -> str:
    collections = {"Runbook": discovery.runbooks, "Connection": discovery.connections, "Incident": discovery.incidents}
    return collections[document["kind"]](namespace)
