"""Workloads as a Runbook names them, e.g. `deployment/scheduler`: where they are, what their Pods are made from, which are theirs.

Patches hold only for an object as it was read. Whoever finds that an act has not happened withdraws it: a new value of one annotation gives
the object a new resourceVersion, so that a request which is still on its way fails its test; and whoever sent that request sees the new
value, and does not adapt it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from incident_operator.api.meta import GROUP
from incident_operator.core.outcomes import Json
from incident_operator.kubernetes import discovery

WITHDRAWN = f"{GROUP}/withdrawn"
"""On a workload or Job: the resourceVersion up to which nothing that was sent counts any more."""
Operation = Mapping[str, Any]


def tests(found: Json) -> Sequence[Operation]:
    """Return the operations by which a patch applies to this very version of this very object."""
    meta = found["metadata"]
    return [
        {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
    ]


def annotations(found: Json) -> Mapping[str, str]:
    """Return an object's annotations."""
    return found["metadata"].get("annotations") or {}


def annotated(found: Json, key: str, value: str) -> Operation:
    """Return the operation that sets an annotation."""
    (operation,) = all_annotated(found, {key: value})
    return operation


def all_annotated(found: Json, wanted: Mapping[str, str | None]) -> Sequence[Operation]:
    """Return the operations that set several annotations; one whose value is None is taken away where it is there."""
    present = annotations(found)
    values = {key: value for key, value in wanted.items() if value is not None}
    if not present:
        return [{"op": "add", "path": "/metadata/annotations", "value": values}] if values else []
    gone = [{"op": "remove", "path": _at(key)} for key, value in wanted.items() if value is None and key in present]
    return [*gone, *({"op": "add", "path": _at(key), "value": value} for key, value in values.items())]


def _at(key: str) -> str:
    return f"/metadata/annotations/{key.replace('/', '~1')}"


def withdrawn(found: Json) -> str:
    """Return what tells one withdrawal from the next; empty where there was none."""
    return annotations(found).get(WITHDRAWN, "")


def withdrawal(found: Json) -> Sequence[Operation]:
    """Return the patch after which no request that was begun before can do anything."""
    return [*tests(found), annotated(found, WITHDRAWN, found["metadata"]["resourceVersion"])]


_APPS, _BATCH = "/apis/apps/v1", "/apis/batch/v1"
_CRONJOB = "cronjob"
KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet"}
_OPERATORS = {"In": "in", "NotIn": "notin"}


def path(namespace: str, reference: str) -> str:
    """Return the API path of a workload or Pod reference, whose form its type has checked."""
    kind, _, name = reference.partition("/")
    if kind == "pod":
        return discovery.pods(namespace, name)
    return discovery.of(_BATCH if kind == _CRONJOB else _APPS, namespace, f"{kind}s", name)


def job_path(namespace: str, name: str | None = None) -> str:
    """Return the API path of a Job, or of all of a namespace."""
    return discovery.of(_BATCH, namespace, "jobs", name)


def pod_template(workload: Json) -> Json:
    """Return what a workload's Pods are made from; a CronJob has it in what its Jobs are made from."""
    spec = workload["spec"]
    return spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else spec["template"]


def claimed_volumes(workload: Json) -> frozenset[str]:
    """Return the volumes that each Pod of a StatefulSet has from a claim of its own."""
    claims = workload["spec"].get("volumeClaimTemplates") or []
    return frozenset(str(claim["metadata"]["name"]) for claim in claims)


def pod_selector(workload: Json) -> str:
    """Return the label selector of a workload's Pods, as a query parameter."""
    selector = workload["spec"].get("selector") or {}
    expressions = [_requirement(one) for one in selector.get("matchExpressions") or []]
    return ",".join([*_equalities(selector.get("matchLabels") or {}), *expressions])


def selector(labels: Mapping[str, str]) -> str:
    """Return labels as a label selector."""
    return ",".join(_equalities(labels))


def _equalities(labels: Mapping[str, str]) -> Sequence[str]:
    return [f"{key}={value}" for key, value in sorted(labels.items())]


def _requirement(expression: Mapping[str, Any]) -> str:
    key, operator = str(expression["key"]), expression["operator"]
    if operator == "Exists":
        return key
    if operator == "DoesNotExist":
        return f"!{key}"
    return f"{key} {_OPERATORS[operator]} ({','.join(expression['values'])})"
