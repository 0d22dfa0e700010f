"""What the API says of the one node."""

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


def has_ready_condition(node: dict[str, Any]) -> bool:
    """Tell whether a Node object says Ready=True, and nothing keeps pods off it."""
    conditions = node.get("status", {}).get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and not node.get("spec", {}).get("taints")
