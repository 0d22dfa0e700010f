"""What the end-to-end tests stand on: the chart without its Pods, and the sample's Runbook for an operator outside."""

import base64
import contextlib
import copy
import fcntl
import json
import ssl
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from demonstration import chart, manifests
from demonstration.cluster import REPOSITORY, Cluster
from demonstration.shell import Failure

_TOKEN_LIFE = "3h"  # a duration
_LOOKS = 60
_LOOK_EVERY = 0.5  # seconds


def install_chart_without_pods(cluster: Cluster) -> str:
    """Install the shipped CRDs, policies and RBAC for `prod`, one process at a time; return a token of the operator's account."""
    with (Path(tempfile.gettempdir()) / "incident-operator-chart.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _install_chart_without_pods(cluster)


def _install_chart_without_pods(cluster: Cluster) -> str:
    for _ in range(_LOOKS):  # a test beside this one may be making the sample's namespace anew
        with contextlib.suppress(Failure):
            _upgrade_chart(cluster)
            break
        time.sleep(_LOOK_EVERY)
    else:
        _upgrade_chart(cluster)
    wait_for_definitions(cluster)
    token = cluster.kubectl("create", "token", chart.RELEASE, "-n", chart.NAMESPACE, f"--duration={_TOKEN_LIFE}")
    return token.strip()


def _upgrade_chart(cluster: Cluster) -> None:
    cluster.apply(manifests.platform()[:1])
    options = ("--namespace", chart.NAMESPACE, "--create-namespace", "--take-ownership", "--force-conflicts")
    values = f"namespaces={{{manifests.NAMESPACE}}},replicas=0"
    folder = REPOSITORY / "charts" / "incident-operator"
    cluster.helm("upgrade", "--install", chart.RELEASE, str(folder), *options, "--set", values)


def wait_for_definitions(cluster: Cluster) -> None:
    """Return once our kinds can be written. Raises `Failure` with what kubectl said if that takes too long.

    The mutating policies look for new definitions every few seconds, and refuse their objects until then.
    """
    for _ in range(_LOOKS):
        with contextlib.suppress(Failure):
            return _try_to_write(cluster)
        time.sleep(_LOOK_EVERY)
    return _try_to_write(cluster)


def _try_to_write(cluster: Cluster) -> None:
    spec = {"title": "a try", "match": ['alertname="Try"'], "serviceAccountName": "default"}
    meta = {"name": "a-try", "namespace": "default"}
    runbook = {"apiVersion": "incidents.dev/v1alpha1", "kind": "Runbook", "metadata": meta, "spec": spec}
    cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(runbook))


def apply_runbook_for_outside(cluster: Cluster) -> None:
    """Apply RB-01 as it ships, with the Connections' names of Services replaced by their cluster IPs.

    A process outside the cluster has no cluster DNS; everything else is the example's own.
    """
    names = ("rbac", "connections", "runbook")
    documents = manifests.documents(*(f"incidents/{name}.yaml" for name in names), "incidents/people.yaml")
    cluster.apply([_reachable(cluster, each) for each in documents])
    cluster.apply(served(manifests.NAMESPACE))


def server(cluster: Cluster) -> str:
    """The apiserver's URL."""
    return str(_cluster_entry(cluster)["server"])


def authority(cluster: Cluster) -> str:
    """The cluster's certificate authority, base64 as a kubeconfig holds it."""
    entry = _cluster_entry(cluster)
    if "certificate-authority" in entry:
        return base64.b64encode(Path(entry["certificate-authority"]).read_bytes()).decode()
    return str(entry["certificate-authority-data"])


def server_trust(cluster: Cluster) -> ssl.SSLContext:
    """Trust the cluster's authority, with no client certificate: whoever forwards brings the caller's own token."""
    return ssl.create_default_context(cadata=base64.b64decode(authority(cluster)).decode())


def _cluster_entry(cluster: Cluster) -> dict[str, Any]:
    entry: dict[str, Any] = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
    return entry


def _reachable(cluster: Cluster, document: dict[str, Any]) -> dict[str, Any]:
    if document["kind"] != "Connection":
        return document
    text = json.dumps(copy.deepcopy(document))
    for name in ("database", "api", "polygon", "fmp", "fred"):
        dns = f"{name}.{manifests.NAMESPACE}.svc"
        if dns in text:
            found = cluster.get("service", name, "-n", manifests.NAMESPACE) or {}
            text = text.replace(dns, found["spec"]["clusterIP"])
    replaced: dict[str, Any] = json.loads(text)
    return replaced


OWN_RULES = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "patch"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "patch"]},
]
"""What an operator does in its own namespace: it holds a Lease, and makes Secrets for itself."""


def lease_rights(namespace: str) -> list[dict[str, Any]]:
    """The rights by which an operator may live in a namespace of its own, beside the one that the chart grants."""
    rbac, meta = "rbac.authorization.k8s.io", {"name": "incident-operator-lease", "namespace": namespace}
    account = {"kind": "ServiceAccount", "name": chart.RELEASE, "namespace": chart.NAMESPACE}
    reference = {"apiGroup": rbac, "kind": "Role", "name": "incident-operator-lease"}
    return [
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": OWN_RULES},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": reference,
            "subjects": [account],
        },
    ]


def served(namespace: str) -> list[dict[str, Any]]:
    """The RoleBindings by which a namespace lets the operator write there, and act as its service accounts, as the chart makes them."""
    return [_bound(namespace, f"{chart.RELEASE}-{role}") for role in ("writer", "impersonator")]


def _bound(namespace: str, role: str) -> dict[str, Any]:
    rbac = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": role, "namespace": namespace},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": chart.RELEASE, "namespace": chart.NAMESPACE}],
    }
