"""What a siege stands on: the operator in Pods with the chart's limits, evil, fort, whose P0 is measured, and the busy namespaces."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from demonstration import chart, platform
from demonstration import cluster as clusters
from demonstration.cluster import REPOSITORY, Cluster

from proofs.siege import servers
from proofs.siege.hostile import busy_namespaces
from proofs.siege.servers import EVIL, named
from proofs.siege.witnesses import BYSTANDER
from tests.e2e.cluster_setup import wait_for_definitions

FORT = "fort"
URGENT, STEP = "SiegeUrgent", "hold"
_RBAC = "rbac.authorization.k8s.io"
_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
_ROLL_OUT = 300.0
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rig:
    """The operator, installed."""

    cluster: Cluster
    url: str
    """Where alerts go."""
    token: str
    memory: int
    """Bytes that the chart lets a container have."""


def namespaces() -> tuple[str, ...]:
    """All that the operator serves."""
    return (EVIL, FORT, *busy_namespaces())


def prepared(cluster: Cluster, replicas: int) -> Rig:
    """Make the namespaces anew, install the operator for them, and wait until all that evil and fort have is ready."""
    removed(cluster)
    clusters.build_image(chart.IMAGE, chart.DOCKERFILE)
    clusters.build_image(platform.IMAGE, platform.DOCKERFILE, base="platform")
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (*namespaces(), BYSTANDER)
    )
    _install(cluster, replicas)
    wait_for_definitions(cluster)
    cluster.apply([*servers.servers(), *fort()])
    cluster.roll_out(EVIL, "web", "database")
    return Rig(cluster, _url(cluster), _token(cluster), limit_of(cluster.get(*_DEPLOYMENT) or {}))


_DEPLOYMENT = ("deployment", chart.RELEASE, "-n", chart.NAMESPACE)


def _install(cluster: Cluster, replicas: int) -> None:
    existed = cluster.get(*_DEPLOYMENT) is not None
    repository, _, tag = chart.IMAGE.partition(":")
    values = (
        f"namespaces={{{','.join(namespaces())}}},image.repository={repository},image.tag={tag},replicas={replicas}"
    )
    options = (
        "--namespace",
        chart.NAMESPACE,
        "--create-namespace",
        "--take-ownership",
        "--force-conflicts",
        "--set",
        values,
    )
    cluster.helm("upgrade", "--install", chart.RELEASE, str(REPOSITORY / "charts" / "incident-operator"), *options)
    if existed:  # its image may be newer under the same name
        begun_anew(cluster)
    else:
        cluster.roll_out(chart.NAMESPACE, chart.RELEASE, timeout=_ROLL_OUT)


def begun_anew(cluster: Cluster) -> None:
    """Start every Pod of the operator anew, and wait until all are ready. Raises `Failure` where they do not become so."""
    cluster.kubectl("rollout", "restart", f"deployment/{chart.RELEASE}", "-n", chart.NAMESPACE)
    cluster.roll_out(chart.NAMESPACE, chart.RELEASE, timeout=_ROLL_OUT)


def removed(cluster: Cluster) -> None:
    """Take the namespaces away, and wait until they are gone."""
    cluster.kubectl("delete", "namespace", *namespaces(), BYSTANDER, "--ignore-not-found", "--wait=true", timeout=600)


def limit_of(deployment: Json) -> int:
    """Return the bytes that a Deployment's container may have, e.g. 536870912 for `512Mi`."""
    text = str(deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"])
    return int(text[:-2]) * _UNITS[text[-2:]] if text[-2:] in _UNITS else int(text)


def _url(cluster: Cluster) -> str:
    """The receiver's Service by its address: whoever posts here has no cluster DNS."""
    found = cluster.get("service", chart.RELEASE, "-n", chart.NAMESPACE) or {}
    port = next(each["port"] for each in found["spec"]["ports"] if each["name"] == "webhook")
    return f"http://{found['spec']['clusterIP']}:{port}/api/v1/alerts"


def _token(cluster: Cluster) -> str:
    name = f"{chart.RELEASE}-webhook"
    cluster.kubectl("wait", "--for=create", f"secret/{name}", "-n", chart.NAMESPACE, "--timeout=90s", timeout=95)
    secret = cluster.get("secret", name, "-n", chart.NAMESPACE) or {}
    return base64.b64decode(secret["data"]["token"]).decode()


def fort() -> list[Json]:
    """A Deployment of no Pods, whose scale is the cheapest effect there is, who may do that, and the Runbook that does."""
    labels = {"app": "idle"}
    container = {"name": "idle", "image": "pause", "imagePullPolicy": "Never"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    idle = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    spec = {
        "title": "urgent",
        "severity": "P0",
        "serviceAccountName": "rb-urgent",
        "match": [f'alertname="{URGENT}"'],
        "groupBy": ["instance"],
        "mitigate": [{"name": STEP, "scale": {"target": "deployment/idle", "replicas": 0}}],
    }
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named("rb-urgent", FORT)},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": named("idle", FORT), "spec": idle},
        *_rights(),
        {"apiVersion": "incidents.dev/v1alpha1", "kind": "Runbook", "metadata": named("urgent", FORT), "spec": spec},
    ]


def _rights() -> Iterable[Json]:
    rules = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]},
    ]
    meta, subject = named("rb-urgent", FORT), {"kind": "ServiceAccount", **named("rb-urgent", FORT)}
    reference = {"apiGroup": _RBAC, "kind": "Role", "name": "rb-urgent"}
    yield {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": meta, "rules": rules}
    yield {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": meta,
        "roleRef": reference,
        "subjects": [subject],
    }
