"""Opens and closes everything that lanes need; each lane has its own namespace, proxies, database and operator."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from demonstration import cluster as clusters

from e2e import ground as cluster_ground
from e2e.operator_process import kubeconfig
from faults import certificates, databases, ground
from faults.apiserver import Proxy
from faults.audit import AuditLog
from faults.eyes import Eyes
from faults.lane import Lane
from faults.operators import Operator
from faults.recorder import Recorder
from faults.scene import Example, Scene
from forking.starter import Stable
from incident_operator.kubernetes import access as accesses
from incident_operator.kubernetes.apiserver import Kube

Make = Callable[[str], Example]
"""Makes an example for a namespace."""


@dataclass(frozen=True, slots=True)
class Arena:
    """What all lanes share."""

    cluster: clusters.Cluster
    token: str
    """Of the operator's service account."""
    admin: accesses.Access
    alice: accesses.Access
    eyes: Eyes
    stable: Stable
    made: certificates.Certificates
    database_host: str
    folder: Path

    @asynccontextmanager
    async def lane(self, namespace: str, make: Make, broken: str = "", **settings: str) -> AsyncIterator[Lane]:
        """Open a lane: its operator is ready, and so are its Runbooks."""
        await asyncio.to_thread(ground.namespace, self.cluster, namespace)
        folder = self.folder / namespace
        folder.mkdir(exist_ok=True)
        async with AsyncExitStack() as stack:
            stack.callback(self.cluster.try_kubectl, "delete", "namespace", namespace, "--wait=false")
            proxy = Proxy(self.admin.server, cluster_ground.server_trust(self.cluster), self.made.server())
            await stack.enter_async_context(proxy)
            admin = await stack.enter_async_context(Kube(self.admin))
            alice = await stack.enter_async_context(Kube(self.alice))
            recorder = await stack.enter_async_context(Recorder())
            scene = Scene(self.cluster, namespace, admin, alice, recorder, self.database_host, self.eyes.text)
            example = make(namespace)
            documents = await stack.enter_async_context(example.set_up(scene))
            await asyncio.to_thread(self.cluster.apply, documents)
            audit = AuditLog(self.cluster.kubeconfig.parent / "logs" / "audit.log", [namespace])
            stack.callback(audit.close)
            own = kubeconfig(folder / "own", self.admin.server, self.token, cluster_ground.authority(self.cluster))
            account = await stack.enter_async_context(Kube(await accesses.load(str(own))))
            config = kubeconfig(folder / "kubeconfig", proxy.url, self.token, self.made.authority_data())
            operator = Operator(self.stable, config, folder, namespace, broken, more=settings)
            scene.restart = operator.kill
            operator.start()
            stack.push_async_callback(operator.end)
            await operator.until_ready()
            await scene.ready()
            yield Lane(scene, example, operator, proxy, self.eyes, audit, account)


@asynccontextmanager
async def opened() -> AsyncIterator[Arena]:
    """Open what lanes share, on the cluster of `make cluster`."""
    cluster = await asyncio.to_thread(clusters.up)
    token = await asyncio.to_thread(cluster_ground.install_chart_without_pods, cluster)
    await asyncio.to_thread(clusters.build_image, ground.IMAGE, ground.DOCKERFILE)
    admin = await accesses.load(str(cluster.kubeconfig))
    alice = await accesses.load(str(await asyncio.to_thread(ground.approver, cluster)))
    with _folder() as folder, Stable() as stable, databases.server() as host:
        made = certificates.make(folder)
        async with Eyes(admin) as eyes:
            yield Arena(cluster, token, admin, alice, eyes, stable, made, host, folder)


@contextmanager
def _folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="io-faults-", dir="/tmp"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
