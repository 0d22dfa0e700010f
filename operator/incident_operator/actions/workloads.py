"""Workloads as a Runbook names them, e.g. `deployment/scheduler`: where they are, what their Pods are made from, and which are theirs."""

from collections.abc import Mapping, Sequence
from typing import Any

from incident_operator.clients import paths
from incident_operator.core.outcomes import Json

_APPS, _BATCH = "/apis/apps/v1", "/apis/batch/v1"
_CRONJOB = "cronjob"
KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet"}
_OPERATORS = {"In": "in", "NotIn": "notin"}


def path(namespace: str, reference: str) -> str:
    """Return the API path of a workload or Pod reference, whose form its type has checked."""
    kind, _, name = reference.partition("/")
    if kind == "pod":
        return paths.pods(namespace, name)
    return paths.of(_BATCH if kind == _CRONJOB else _APPS, namespace, f"{kind}s", name)


def job_path(namespace: str, name: str | None = None) -> str:
    """Return the API path of a Job, or of all of a namespace."""
    return paths.of(_BATCH, namespace, "jobs", name)


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
