"""Opens and closes everything that workers need; each worker has its own namespace, proxies, database and operator."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from demonstration import cluster as clusters

from incident_operator.kubernetes import access as accesses
from incident_operator.kubernetes.apiserver import Kube
from proofs.faults import certificates, databases, namespaces
from proofs.faults.apiserver import Proxy
from proofs.faults.audit import AuditLog
from proofs.faults.observer import Observer
from proofs.faults.operators import Operator
from proofs.faults.recorder import Recorder
from proofs.faults.scenario import Example, Scenario
from proofs.faults.worker import Worker
from proofs.forking.starter import Stable
from tests.e2e import cluster_setup
from tests.e2e.operator_process import kubeconfig

Make = Callable[[str], Example]
"""Makes an example for a namespace."""


@dataclass(frozen=True, slots=True)
class Rig:
    """What all workers share."""

    cluster: clusters.Cluster
    token: str
    """Of the operator's service account."""
    admin: accesses.Access
    alice: accesses.Access
    observer: Observer
    stable: Stable
    made: certificates.Certificates
    database_host: str
    folder: Path

    @asynccontextmanager
    async def worker(self, namespace: str, make: Make, broken: str = "", **settings: str) -> AsyncIterator[Worker]:
        """Open a worker: its operator is ready, and so are its Runbooks."""
        await asyncio.to_thread(namespaces.namespace, self.cluster, namespace)
        folder = self.folder / namespace
        folder.mkdir(exist_ok=True)
        async with AsyncExitStack() as stack:
            stack.callback(self.cluster.try_kubectl, "delete", "namespace", namespace, "--wait=false")
            proxy = Proxy(self.admin.server, cluster_setup.server_trust(self.cluster), self.made.server())
            await stack.enter_async_context(proxy)
            admin = await stack.enter_async_context(Kube(self.admin))
            alice = await stack.enter_async_context(Kube(self.alice))
            recorder = await stack.enter_async_context(Recorder())
            scenario = Scenario(self.cluster, namespace, admin, alice, recorder, self.database_host, self.observer.text)
            example = make(namespace)
            documents = await stack.enter_async_context(example.set_up(scenario))
            await asyncio.to_thread(self.cluster.apply, documents)
            audit = AuditLog(self.cluster.kubeconfig.parent / "logs" / "audit.log", [namespace])
            stack.callback(audit.close)
            own = kubeconfig(folder / "own", self.admin.server, self.token, cluster_setup.authority(self.cluster))
            account = await stack.enter_async_context(Kube(await accesses.load(str(own))))
            config = kubeconfig(folder / "kubeconfig", proxy.url, self.token, self.made.authority_data())
            operator = Operator(self.stable, config, folder, namespace, broken, more=settings)
            scenario.restart = operator.kill
            operator.start()
            stack.push_async_callback(operator.end)
            await operator.until_ready()
            await scenario.ready()
            yield Worker(scenario, example, operator, proxy, self.observer, audit, account)


@asynccontextmanager
async def opened() -> AsyncIterator[Rig]:
    """Open what workers share, on the cluster of `make cluster`."""
    cluster = await asyncio.to_thread(clusters.up)
    token = await asyncio.to_thread(cluster_setup.install_chart_without_pods, cluster)
    await asyncio.to_thread(clusters.build_image, namespaces.IMAGE, namespaces.DOCKERFILE)
    admin = await accesses.load(str(cluster.kubeconfig))
    alice = await accesses.load(str(await asyncio.to_thread(namespaces.approver, cluster)))
    with _folder() as folder, Stable() as stable, databases.server() as host:
        made = certificates.make(folder)
        async with Observer(admin) as observer:
            yield Rig(cluster, token, admin, alice, observer, stable, made, host, folder)


@contextmanager
def _folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="io-faults-", dir="/tmp"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
