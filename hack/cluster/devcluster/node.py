"""What the API says of the one node and of the pods on it."""

from __future__ import annotations

from typing import Any

from devcluster import api, settings
from devcluster.console import ClusterError


def is_ready(config: settings.Settings) -> bool:
    """Tell whether the node is registered and Ready."""
    try:
        found = api.get(config, f"/api/v1/nodes/{settings.NODE_NAME}")
    except ClusterError:
        return False
    return found is not None and has_ready_condition(found)


def accepts_pods(config: settings.Settings) -> bool:
    """Tell whether a pod made now in the namespace default would be admitted: its service account is there."""
    try:
        return api.get(config, "/api/v1/namespaces/default/serviceaccounts/default") is not None
    except ClusterError:
        return False


def has_forgotten_dead_pods(config: settings.Settings, started: str) -> bool:
    """Tell whether no pod is called Ready for a container of before `started` (UTC, as in the API): those are dead."""
    try:
        found = api.get(config, "/api/v1/pods")
    except ClusterError:
        return False
    return found is not None and not any(is_ready_by_old_container(pod, started) for pod in found["items"])


def is_ready_by_old_container(pod: dict[str, Any], started: str) -> bool:
    """Tell whether a Pod object says Ready=True, and a container in it has run since before `started`."""
    containers = pod.get("status", {}).get("containerStatuses", [])
    times = [container.get("state", {}).get("running", {}).get("startedAt", started) for container in containers]
    return _says_ready(pod) and any(time < started for time in times)


def has_ready_condition(node: dict[str, Any]) -> bool:
    """Tell whether a Node object says Ready=True, and nothing keeps pods off it."""
    return _says_ready(node) and not node.get("spec", {}).get("taints")


def _says_ready(described: dict[str, Any]) -> bool:
    conditions = described.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
