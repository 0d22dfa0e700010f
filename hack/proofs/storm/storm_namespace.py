"""What a storm stands on: a namespace with its Runbooks, the operator's account, and a clean slate before and after."""

import json
from collections.abc import Iterator
from typing import Any

import yaml
from demonstration import chart
from demonstration.cluster import REPOSITORY, Cluster
from demonstration.shell import Failure

from tests.e2e.cluster_setup import OWN_RULES, served, wait_for_definitions
from tests.kubernetes.garbage_collector import AS_COLLECTOR

NAMESPACE = "storm"
STORM, URGENT, PILE = "StormAlert", "StormUrgent", "StormPile"
_GROUP = "incidents.dev"
_RBAC = "rbac.authorization.k8s.io"
_TOKEN_LIFE = "3h"  # a duration
_PAGE = 500
_TRIES = 20
_INSTALLED = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
Json = dict[str, Any]


def prepare(cluster: Cluster, *, policies: bool = True) -> str:
    """Install definitions, account and Runbooks; return a token of the operator's account.

    Without `policies` those in place stay as they are: other tests may be at work on them.
    """
    definitions = REPOSITORY / "crds"
    for path in sorted(definitions.glob("*.yaml" if policies else f"{_GROUP}_*.yaml")):
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(path))
    wait_for_definitions(cluster)
    cluster.apply([_namespace(chart.NAMESPACE), _namespace(NAMESPACE)])
    _apply(cluster, [*_rights_of_the_chart(cluster), *_place(), *_runbooks()])
    words = ("create", "token", chart.RELEASE, "-n", chart.NAMESPACE, f"--duration={_TOKEN_LIFE}")
    return cluster.kubectl(*words).strip()


def clear(cluster: Cluster) -> None:
    """Delete what storms made: Incidents, what they own, and Events."""
    for kind in ("incidents.incidents.dev", "configmaps", "events"):
        path = {"incidents.incidents.dev": f"/apis/{_GROUP}/v1alpha1", "configmaps": "/api/v1", "events": "/api/v1"}
        where = f"{path[kind]}/namespaces/{NAMESPACE}/{kind.split('.')[0]}"
        selector = "?labelSelector=incidents.dev/incident" if kind == "configmaps" else ""
        _delete_all(cluster, where + selector)


def _delete_all(cluster: Cluster, path: str) -> None:
    """Delete a collection; the apiserver gives up on a large one after a minute, and the next try finds fewer."""
    for _ in range(_TRIES):
        try:
            cluster.kubectl("delete", "--raw", path, *AS_COLLECTOR, timeout=300)
        except Failure as error:
            if "Timeout" not in str(error):
                raise
        else:
            return
    raise Failure(f"{path} could not be emptied in {_TRIES} tries")


def remove(cluster: Cluster) -> None:
    """Take the namespace away."""
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def incidents(cluster: Cluster) -> Iterator[Json]:
    """Every Incident that etcd holds, page by page, by kubectl: no code of the operator is asked."""
    path = f"/apis/{_GROUP}/v1alpha1/namespaces/{NAMESPACE}/incidents?limit={_PAGE}"
    more = ""
    while True:
        page = json.loads(cluster.kubectl("get", "--raw", f"{path}{more}"))
        yield from page["items"]
        if not (token := page["metadata"].get("continue")):
            return
        more = f"&continue={token}"


def _rights_of_the_chart(cluster: Cluster) -> list[Json]:
    folder = str(REPOSITORY / "charts" / "incident-operator")
    values = f"namespaces={{{NAMESPACE}}}"
    text = cluster.helm("template", chart.RELEASE, folder, "--namespace", chart.NAMESPACE, "--set", values)
    documents = [each for each in yaml.safe_load_all(text) if each and each["kind"] in _INSTALLED]
    for document in documents:
        if not document["kind"].startswith("Cluster"):
            document["metadata"].setdefault("namespace", chart.NAMESPACE)
    return documents


def _place() -> list[Json]:
    """A Deployment of no Pods, whose scale is the cheapest effect there is; who may do that; a Lease of the storm's own."""
    idle: Json = {
        "selector": {"matchLabels": {"app": "idle"}},
        "replicas": 0,
        "template": {
            "metadata": {"labels": {"app": "idle"}},
            "spec": {"containers": [{"name": "idle", "image": "pause", "imagePullPolicy": "Never"}]},
        },
    }
    reads = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]},
    ]
    operator = {"kind": "ServiceAccount", "name": chart.RELEASE, "namespace": chart.NAMESPACE}
    runner = {"kind": "ServiceAccount", "name": "rb-storm", "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _named("rb-storm")},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _named("idle"), "spec": idle},
        *_bound("rb-storm", reads, runner),
        *_bound("storm-operator", OWN_RULES, operator),
        *served(NAMESPACE),
    ]


def _runbooks() -> list[Json]:
    look = {"name": "look", "get": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "idle"}}
    hold = {"name": "hold", "scale": {"target": "deployment/idle", "replicas": 0}}
    return [
        _runbook("storm", STORM, "P3", groupBy=["instance"], diagnose=[look]),
        _runbook("pile", PILE, "P3", diagnose=[look]),
        _runbook("urgent", URGENT, "P0", groupBy=["instance"], mitigate=[hold]),
    ]


def _runbook(name: str, alertname: str, severity: str, **stages: Any) -> Json:
    spec = {"title": name, "severity": severity, "match": [f'alertname="{alertname}"']}
    kind = {"apiVersion": f"{_GROUP}/v1alpha1", "kind": "Runbook", "metadata": _named(name)}
    return {**kind, "spec": {**spec, "serviceAccountName": "rb-storm", **stages}}


def _bound(name: str, rules: list[Json], subject: Json) -> list[Json]:
    reference = {"apiGroup": _RBAC, "kind": "Role", "name": name}
    return [
        {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": _named(name), "rules": rules},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": _named(name),
            "subjects": [subject],
            "roleRef": reference,
        },
    ]


def _apply(cluster: Cluster, documents: list[Json]) -> None:
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=listed, timeout=120)


def _named(name: str) -> Json:
    return {"name": name, "namespace": NAMESPACE}


def _namespace(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
