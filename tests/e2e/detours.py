"""A namespace of its own in which incidents go another way than planned: its people, its workloads, its Runbooks."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml
from demonstration import cluster as clusters
from demonstration import people

from incident_operator.kubernetes import access as accesses
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import Kube
from proofs.forking.operator import ForkedOperator
from proofs.forking.starter import Stable
from tests.e2e import cluster_setup
from tests.e2e.operator_process import OperatorProcess, alert, kubeconfig

T = TypeVar("T")
ACCOUNT = "rb-detours"
TEMPLATE, SCALED = "web", "worker"
"""The Deployment whose Pod template Jobs copy, and the one that is scaled; neither runs Pods to begin with."""
HOSTILE = {
    "command": "$(touch /tmp/owned)",
    "variable": "$(CANARY)",
    "expression": "${params.other}",
    "quotes": "'\"`\\",
    "sql": "'; DROP TABLE pricing_pack; --",
    "flag": "--force",
    "accents": "naïve Ω 漢字 🙂",
}
"""Label values that are fine as text, and meant to be more than that."""
_LOOKS, _PAUSE = 400, 0.1


@dataclass(frozen=True, slots=True)
class Scenario:
    """One namespace, and the operator that looks after it."""

    cluster: clusters.Cluster
    namespace: str
    operator: OperatorProcess
    kube: Kube

    async def has_runbook(self, name: str, *, ready: bool = True, **spec: Any) -> None:
        """Apply a Runbook for alerts of its own name, and wait until the operator has judged it."""
        await asyncio.to_thread(self.cluster.apply, [runbook(self.namespace, name, spec)])
        await self.until(lambda: self._is_judged(name, ready), f"Runbook {name} Ready={ready}")

    async def fires(self, name: str, **labels: str) -> dict[str, Any]:
        """Let the Runbook's alert fire; returns it."""
        fired = self.alert(datetime.now(UTC), name, **labels)
        await self.fire(fired)
        return fired

    def alert(self, starts_at: datetime, name: str, **labels: str) -> dict[str, Any]:
        """An alert of the namespace."""
        return alert(starts_at, alertname=name, namespace=self.namespace, **labels)

    async def fire(self, *alerts: dict[str, Any]) -> None:
        """Post alerts, all of which have to be taken in."""
        code, answer = await self.operator.post(*alerts)
        assert code == 200, answer

    async def resolves(self, fired: Mapping[str, Any]) -> None:
        """Let an alert resolve."""
        await self.fire({**fired, "status": "resolved", "endsAt": datetime.now(UTC).isoformat()})

    async def is_approved(self, by: people.Person, name: str) -> dict[str, Any]:
        """Let a person approve what the Runbook's newest Incident asks for; returns it as it was when it asked."""
        asked = await self.waits_in("AwaitingApproval", name)
        await self.answers(by, approve_with(asked))
        return asked

    async def ends(self, name: str, fired: Mapping[str, Any]) -> dict[str, Any]:
        """Wait until all is done, let the alert resolve, and return the closed Incident."""
        await self.waits_in("Verifying", name)
        await self.resolves(fired)
        return await self.waits_in("Resolved", name)

    async def waits_in(self, phase: str, name: str, *, asked: str = "") -> dict[str, Any]:
        """Wait until the Runbook's newest Incident is in a phase (and asks for something else than plan `asked`)."""

        async def there() -> dict[str, Any] | None:
            status = (found := await self.newest(name)).get("status", {})
            pending = status.get("pendingApproval", {}).get("planHash", "")
            return found if status.get("phase") == phase and (not asked or pending != asked) else None

        try:
            return await self.until(there, f"{name} {phase}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(await self.newest(name), indent=1)}") from None

    async def answers(self, person: people.Person, command: str) -> None:
        """Let a person paste a line."""
        await asyncio.to_thread(person.runs, command)

    async def until(self, look: Callable[[], Awaitable[T | None]], what: str) -> T:
        """Look until there is something, in bounded time."""
        for _ in range(_LOOKS):
            if (found := await look()) is not None:
                return found
            await asyncio.sleep(_PAUSE)
        raise AssertionError(f"not within {_LOOKS * _PAUSE:.0f}s: {what}")

    async def newest(self, name: str) -> dict[str, Any]:
        """The Runbook's newest Incident; empty where there is none."""
        found = await self.incidents(name)
        return max(found, key=lambda each: int(each["metadata"]["name"].rpartition("-")[2])) if found else {}

    async def incidents(self, name: str) -> list[dict[str, Any]]:
        """Every Incident of a Runbook that an alert opened."""
        return await self.listed(discovery.incidents(self.namespace), f"incidents.dev/runbook={name}")

    async def jobs(self, incident: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The Jobs that were made for an Incident."""
        path = discovery.of("/apis/batch/v1", self.namespace, "jobs")
        return await self.listed(path, f"incidents.dev/incident={incident['metadata']['name']}")

    async def listed(self, path: str, selector: str = "") -> list[dict[str, Any]]:
        """Objects, as the apiserver gives them to its administrator."""
        found = await self.kube.get(path, params={"labelSelector": selector} if selector else None)
        return list(found["items"])

    async def scaled(self) -> dict[str, Any]:
        """The Deployment that Runbooks scale."""
        return dict(await self.kube.get(discovery.of("/apis/apps/v1", self.namespace, "deployments", SCALED)))

    async def replicas(self) -> int:
        """How many Pods it is meant to have."""
        return int((await self.scaled())["spec"]["replicas"])

    def set_replicas(self, number: int) -> None:
        """Scale by hand what Runbooks scale."""
        self.cluster.kubectl("scale", f"deployment/{SCALED}", f"--replicas={number}", "-n", self.namespace)

    def change_template(self, name: str, value: str) -> None:
        """Change the Pod template that Jobs copy."""
        self.cluster.kubectl("set", "env", f"deployment/{TEMPLATE}", f"{name}={value}", "-n", self.namespace)

    async def _is_judged(self, name: str, ready: bool) -> bool | None:
        found = await self.kube.get(discovery.runbooks(self.namespace, name))
        status = found.get("status", {})
        if status.get("observedGeneration") != found["metadata"]["generation"]:
            return None
        said = {each["type"]: each["status"] for each in status["conditions"]}
        return True if said.get("Ready") == str(ready) else None


@contextmanager
def namespace(cluster: clusters.Cluster, name: str, *more: Mapping[str, Any]) -> Iterator[str]:
    """A namespace with people, a service account with exactly the rights it needs, and two Deployments; then none."""
    clusters.build_image("quickstart-web:dev", "examples/quickstart/Dockerfile")
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=true", timeout=90)
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
    cluster.apply([*_rights(name), *_deployments(name), *more])
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@asynccontextmanager
async def operated(
    cluster: clusters.Cluster, token: str, stable: Stable, folder: Path, name: str
) -> AsyncIterator[Scenario]:
    """The operator of a namespace, with the chart's own service account, for as long as the block lasts."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
    authority = config.get("certificate-authority-data") or _encoded(Path(config["certificate-authority"]))
    written = kubeconfig(folder / "kubeconfig", config["server"], token, authority)
    process = ForkedOperator(written, folder, name, stable=stable)
    async with Kube(await accesses.load(str(cluster.kubeconfig))) as kube:
        await process.start()
        try:
            yield Scenario(cluster, name, process, kube)
        finally:
            await process.stop()


def runbook(where: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A Runbook for alerts that have its name."""
    base = {"title": name, "serviceAccountName": ACCOUNT, "match": [f'alertname="{name}"']}
    metadata = {"name": name, "namespace": where}
    return {"apiVersion": "incidents.dev/v1alpha1", "kind": "Runbook", "metadata": metadata, "spec": {**base, **spec}}


def job(program: str, *arguments: str, **step: Any) -> dict[str, Any]:
    """A step that runs a Python program as a Job."""
    spec = {"from": f"deployment/{TEMPLATE}", "command": ["python3", "-c", program, *arguments]}
    return {"name": "run", "job": spec, "timeout": "1m", **step}


def scale(replicas: int | str = 1, **step: Any) -> dict[str, Any]:
    """A step that scales."""
    return {"name": "scale-up", "scale": {"target": f"deployment/{SCALED}", "replicas": replicas}, **step}


def states(incident: Mapping[str, Any]) -> dict[str, str]:
    """Step → state, as recorded."""
    return {step["name"]: step["state"] for step in incident["status"]["steps"]}


def plan_hash(incident: Mapping[str, Any]) -> str:
    """The hash of the plan that waits for a person."""
    return str(incident["status"]["pendingApproval"]["planHash"])


def approve_with(incident: Mapping[str, Any]) -> str:
    """The line that approves."""
    return str(incident["status"]["pendingApproval"]["approveWith"])


def retry_with(incident: Mapping[str, Any]) -> str:
    """The line that answers a stopped Incident."""
    return str(incident["status"]["pendingAnswer"]["answerWith"][0])


def _rights(where: str) -> list[dict[str, Any]]:
    rules = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": [TEMPLATE, SCALED], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": [SCALED], "verbs": ["patch"]},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["database"], "verbs": ["get"]},
    ]
    rbac, metadata = "rbac.authorization.k8s.io", {"name": ACCOUNT, "namespace": where}
    account = {"kind": "ServiceAccount", **metadata}
    approvers = [{"apiGroup": rbac, "kind": "User", "name": f"{name}@dawsos.com"} for name in ("alice", "bob")]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        _binding(where, ACCOUNT, "Role", ACCOUNT, [account]),
        _binding(where, "approvers", "ClusterRole", "incident-approver", approvers),
        *cluster_setup.served(where),
    ]


def _binding(where: str, name: str, kind: str, role: str, subjects: list[dict[str, Any]]) -> dict[str, Any]:
    rbac = "rbac.authorization.k8s.io"
    reference = {"apiGroup": rbac, "kind": kind, "name": role}
    metadata = {"name": name, "namespace": where}
    version = f"{rbac}/v1"
    return {
        "apiVersion": version,
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": reference,
        "subjects": subjects,
    }


def _deployments(where: str) -> list[dict[str, Any]]:
    shipped = yaml.safe_load_all((clusters.REPOSITORY / "examples" / "quickstart" / "web.yaml").read_text())
    deployment = next(each for each in shipped if each["kind"] == "Deployment")
    spec = {**deployment["spec"], "replicas": 0}
    return [{**deployment, "metadata": {"name": name, "namespace": where}, "spec": spec} for name in (TEMPLATE, SCALED)]


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
