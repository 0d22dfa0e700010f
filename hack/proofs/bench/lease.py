"""The Lease of the operator that measures a namespace: its own, or somebody else's, so that it takes alerts in and drives nothing."""

from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]


def leases(namespace: str) -> str:
    """The path of a namespace's Leases."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def somebody_elses_lease(namespace: str) -> Json:
    """The Lease of the operator that measures a namespace, held for an hour by a replica that there is not."""
    spec = {
        "holderIdentity": "somebody-else",
        "leaseDurationSeconds": 3600,
        "renewTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": lease_of(namespace)},
        "spec": spec,
    }


def lease_of(namespace: str) -> str:
    """The name of that Lease."""
    return f"bench-{namespace}"
