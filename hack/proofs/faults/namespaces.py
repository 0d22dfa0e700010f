"""What all workers stand on: the installed chart, people with certificates, and namespaces with the rights that runs need."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demonstration import chart, people
from demonstration.cluster import Cluster

from tests.e2e import cluster_setup

RBAC = "rbac.authorization.k8s.io"
APPROVER = "alice@dawsos.com"
IMAGE, DOCKERFILE = "quickstart-web:dev", "examples/quickstart/Dockerfile"
Json = Mapping[str, Any]


def namespace(cluster: Cluster, name: str) -> None:
    """Make a namespace anew in which the operator may act and keep its Lease, and alice may approve."""
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=true", timeout=120)
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
    operator = {"kind": "ServiceAccount", "name": chart.RELEASE, "namespace": chart.NAMESPACE}
    approver = {"apiGroup": RBAC, "kind": "User", "name": APPROVER}
    cluster.apply(
        [
            *cluster_setup.served(name),
            role(name, "operator", cluster_setup.OWN_RULES),
            binding(name, "operator", "Role", "operator", operator),
            binding(name, "approvers", "ClusterRole", "incident-approver", approver),
        ]
    )


def role(where: str, name: str, rules: list[dict[str, Any]]) -> Json:
    """A Role."""
    metadata = {"name": name, "namespace": where}
    return {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": rules}


def binding(where: str, name: str, kind: str, to: str, subject: Json) -> Json:
    """A RoleBinding."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": where},
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": to},
        "subjects": [subject],
    }


def approver(cluster: Cluster) -> Path:
    """The kubeconfig of alice, with a client certificate of her own."""
    return people.gather(cluster).alice.cluster.kubeconfig
