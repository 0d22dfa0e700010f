"""What is measured on: the cluster, the chart's CRDs and RBAC, a namespace for each question, the reference's CRD."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from demonstration import chart
from demonstration import cluster as clusters

from incident_operator.actions import ACTIONS
from incident_operator.api.runbook import Runbook
from incident_operator.core.runbooks import compiler
from incident_operator.core.runbooks.compiled import Compiled
from incident_operator.core.runbooks.reviews import digest_of
from proofs.bench import textbook
from tests.e2e import cluster_setup, leaving
from tests.e2e.operator_process import kubeconfig

STEPS = 5
CRD_TIMEOUT = "--timeout=30s"


@dataclass(frozen=True, slots=True)
class Rig:
    """The cluster, and a kubeconfig of the operator's own service account."""

    cluster: clusters.Cluster
    kubeconfig: Path
    folder: Path
    """For logs and tokens; it goes away afterwards."""

    @property
    def audit(self) -> Path:
        """The apiserver's audit log."""
        return self.cluster.kubeconfig.parent / "logs" / "audit.log"

    def kubernetes(self) -> str:
        """The apiserver's version."""
        return str(json.loads(self.cluster.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"])


def prepared(folder: Path) -> Rig:
    """Bring the cluster up and install what the operator and the reference need."""
    cluster = clusters.up()
    token = cluster_setup.install_chart_without_pods(cluster)
    cluster.apply([_reference_kind(), *_rights_of_the_reference()])
    named = f"crd/{textbook.PLURAL}.{textbook.GROUP}"
    cluster.kubectl("wait", "--for=condition=Established", named, CRD_TIMEOUT)
    access = kubeconfig(folder / "kubeconfig", cluster_setup.server(cluster), token, cluster_setup.authority(cluster))
    return Rig(cluster, access, folder)


def left(on: Rig) -> None:
    """Take away what was installed, but for the operator's own definitions."""
    on.cluster.try_kubectl("delete", f"crd/{textbook.PLURAL}.{textbook.GROUP}", "--ignore-not-found")
    on.cluster.try_kubectl("delete", "clusterrole/bench", "clusterrolebinding/bench", "--ignore-not-found")
    leaving.leave(on.cluster)


@contextlib.contextmanager
def namespace(on: Rig, name: str) -> Iterator[str]:
    """A namespace with a Runbook of five steps; everything in it goes away afterwards."""
    on.cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
    on.cluster.apply([*_runbook(name), *cluster_setup.served(name), *cluster_setup.lease_rights(name)])
    try:
        yield name
    finally:
        on.cluster.try_kubectl("delete", "namespace", name, "--wait=false")


def _runbook(namespace: str) -> list[dict[str, Any]]:
    """Five acts, each with an intent stored before it; `protective` so that nobody is asked."""
    call = "http: {connection: nowhere, method: POST, path: /, idempotencyKey: Idempotency-Key}"
    steps = "".join(f"  - name: step-{number}\n    protective: true\n    {call}\n" for number in range(1, STEPS + 1))
    text = f"""
apiVersion: incidents.dev/v1alpha1
kind: Connection
metadata: {{name: nowhere, namespace: {namespace}}}
spec: {{type: http, http: {{url: "http://127.0.0.1:9"}}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: rb-five-steps, namespace: {namespace}}}
---
apiVersion: incidents.dev/v1alpha1
kind: Runbook
metadata: {{name: five-steps, namespace: {namespace}}}
spec:
  title: Five steps that do nothing
  serviceAccountName: rb-five-steps
  match: ['alertname="Bench"', 'namespace="{namespace}"']
  groupBy: [instance]
  resolveTimeout: 24h
  mitigate:
{steps}"""
    return list(yaml.safe_load_all(text))


def _rights_of_the_reference() -> list[dict[str, Any]]:
    """The reference, and the bare client, use the operator's account, and may do more than it."""
    everything = {"apiGroups": [textbook.GROUP, "incidents.dev"], "resources": ["*"], "verbs": ["*"]}
    names = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]}
    kinds = {
        "apiGroups": ["apiextensions.k8s.io"],
        "resources": ["customresourcedefinitions"],
        "verbs": ["get", "list", "watch"],
    }
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "bench"}}
    subject = {"kind": "ServiceAccount", "name": chart.RELEASE, "namespace": chart.NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bench"}
    return [
        {**rbac, "kind": "ClusterRole", "rules": [everything, names, kinds]},
        {**rbac, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]},
    ]


def _reference_kind() -> dict[str, Any]:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything, "status": anything}}
    version = {"name": textbook.VERSION, "served": True, "storage": True, "subresources": {"status": {}}}
    names = {"plural": textbook.PLURAL, "singular": "textbook", "kind": "Textbook"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{textbook.PLURAL}.{textbook.GROUP}"},
        "spec": {
            "group": textbook.GROUP,
            "scope": "Namespaced",
            "names": names,
            "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def unasked(namespace: str) -> str:
    """The setting that lets the five steps run without asking."""
    (written,) = (each for each in _runbook(namespace) if each["kind"] == "Runbook")
    compiled = compiler.compile_runbook(Runbook.model_validate(written), None, ACTIONS)
    if not isinstance(compiled, Compiled):
        raise TypeError(f"the Runbook of the bench has problems: {compiled}")
    named = {"namespace": namespace, "runbook": "five-steps"}
    return json.dumps(
        [{**named, "step": name, "digest": digest_of(compiled, step)} for name, step in compiled.steps.items()]
    )
