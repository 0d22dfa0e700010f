"""Workloads as a Runbook names them, e.g. `deployment/scheduler`: where they are, and which Pods are theirs."""

from collections.abc import Mapping, Sequence
from typing import Any

from incident_operator.clients import paths
from incident_operator.core.outcomes import Json

_APPS = "/apis/apps/v1"
KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet"}
_OPERATORS = {"In": "in", "NotIn": "notin"}


def path(namespace: str, reference: str) -> str:
    """Return the API path of a workload or Pod reference, whose form its type has checked."""
    kind, _, name = reference.partition("/")
    if kind == "pod":
        return paths.pods(namespace, name)
    return paths.of(_APPS, namespace, f"{kind}s", name)


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
