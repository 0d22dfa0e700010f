"""What rounds are played on: a namespace with a Runbook, people, a database and a service; and what they witness."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from demonstration import people
from demonstration.cluster import Cluster

from incident_operator.kubernetes import access as accesses
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import Kube
from proofs.rounds.line import Line
from proofs.rounds.operators import LEASE_SECONDS, NAMESPACE, Operators, until
from proofs.rounds.services import ROLE, Service, database, service
from tests.actions.sql.endpoints import PASSWORD, Database
from tests.e2e import cluster_setup
from tests.kubernetes.garbage_collector import as_collector

ALICE = "alice@dawsos.com"
WORKER = discovery.of("/apis/apps/v1", NAMESPACE, "deployments", "worker")


@dataclass(frozen=True, slots=True)
class Rig:
    """Everything that stays from round to round."""

    admin: Kube
    alice: Kube
    database: Database
    service: Service
    operators: Operators

    async def incidents(self, run: str) -> list[Mapping[str, Any]]:
        """Return the Incidents of a run."""
        listed = (await self.admin.get(discovery.incidents(NAMESPACE)))["items"]
        return [each for each in listed if each["spec"].get("commonLabels", {}).get("run") == run]

    async def worker(self) -> tuple[int, int]:
        """Return the Deployment's generation and replicas."""
        found = await self.admin.get(WORKER)
        return found["metadata"]["generation"], found["spec"]["replicas"]

    async def annotate(self, name: str, key: str, value: str, *, by_alice: bool = False) -> None:
        """Let a person annotate an Incident."""
        client = self.alice if by_alice else self.admin
        await client.merge_patch(discovery.incidents(NAMESPACE, name), {"metadata": {"annotations": {key: value}}})

    async def clear(self) -> None:
        """Remove what earlier rounds left."""
        for incident in (await self.admin.get(discovery.incidents(NAMESPACE)))["items"]:
            await as_collector(self.admin).delete(discovery.incidents(NAMESPACE, incident["metadata"]["name"]))
        if (await self.worker())[1] != 1:
            await self.admin.merge_patch(WORKER, {"spec": {"replicas": 1}})


@asynccontextmanager
async def rig(cluster: Cluster, folder: Path, lease_seconds: int = LEASE_SECONDS) -> AsyncIterator[Rig]:
    """Prepare all of it, and end every process with the block."""
    async with AsyncExitStack() as stack:
        stored = stack.enter_context(database())
        socket = str(Path(stored.host) / f".s.PGSQL.{stored.port}")
        line = await stack.enter_async_context(Line(lambda: asyncio.open_unix_connection(socket)))
        carried = await stack.enter_async_context(service())
        token = cluster_setup.install_chart_without_pods(cluster)
        stack.callback(cluster.try_kubectl, "delete", "namespace", NAMESPACE, "--wait=false")
        _install(cluster, line.port, carried.port)
        admin = await stack.enter_async_context(Kube(await accesses.load(str(cluster.kubeconfig))))
        config = people.gather(cluster).alice.cluster.kubeconfig
        alice = await stack.enter_async_context(Kube(await accesses.load(str(config))))
        operators = Operators(cluster, admin, token, folder, lease_seconds)
        stack.push_async_callback(operators.end)
        made = Rig(admin, alice, stored, carried, operators)
        await operators.have_two(skewed=False)
        await until(lambda: _ready(admin), "the Runbook ready")
        yield made


def _install(cluster: Cluster, sql_port: int, http_port: int) -> None:
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", timeout=120)
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
    text = (Path(__file__).parent / "runbook.yaml").read_text()
    for name, value in (("NAMESPACE", NAMESPACE), ("SQL_PORT", sql_port), ("HTTP_PORT", http_port)):
        text = text.replace(name, str(value))
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "database", "namespace": NAMESPACE},
        "stringData": {"username": ROLE, "password": PASSWORD},
    }
    rights = [*cluster_setup.lease_rights(NAMESPACE), *cluster_setup.served(NAMESPACE)]
    cluster.apply([*rights, secret, *yaml.safe_load_all(text)])


async def _ready(admin: Kube) -> bool | None:
    status = (await admin.get(discovery.runbooks(NAMESPACE, "rounds"))).get("status", {})
    ready = [each["status"] for each in status.get("conditions", []) if each["type"] == "Ready"]
    return True if ready == ["True"] else None
