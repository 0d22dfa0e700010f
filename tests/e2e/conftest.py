"""The sample platform on a real cluster, and the operator as a process that can really be killed."""

import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "hack" / "demo"), str(REPOSITORY / "hack" / "cluster")]

from demonstration import cluster as clusters  # noqa: E402
from demonstration import people, platform  # noqa: E402

from incident_operator.kubernetes import access as accesses  # noqa: E402
from proofs.forking.operator import ForkedOperator  # noqa: E402
from proofs.forking.starter import Stable  # noqa: E402
from tests.e2e import cluster_setup, witnesses  # noqa: E402
from tests.e2e.apiserver_proxy import ApiserverProxy  # noqa: E402
from tests.e2e.idle import Idle  # noqa: E402
from tests.e2e.operator_process import kubeconfig  # noqa: E402


@pytest.fixture(scope="session")
def cluster() -> clusters.Cluster:
    """The cluster of `make cluster`."""
    return clusters.up()


@pytest.fixture(scope="session")
def installed(cluster: clusters.Cluster) -> str:
    """CRDs, policies and RBAC exactly as the chart ships them, without a running Pod; the service account's token."""
    return cluster_setup.install_chart_without_pods(cluster)


@pytest.fixture(scope="session")
def audit_of_all(cluster: clusters.Cluster, installed: str) -> witnesses.AuditLog:
    """The audit log from before the first operator of these tests."""
    return witnesses.AuditLog(cluster)


@pytest.fixture(scope="session", autouse=True)
def idle(
    cluster: clusters.Cluster,
    installed: str,
    audit_of_all: witnesses.AuditLog,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Idle]:
    """An operator with nothing to do, from the first test on: by the last one it has been idle for long."""
    made = Idle(cluster, installed, tmp_path_factory.mktemp("idle"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def stable() -> Iterator[Stable]:
    """What starts operators without the second that imports take; the idle one is started as people start it."""
    with Stable() as made:
        yield made


@pytest.fixture(scope="session")
def prod(cluster: clusters.Cluster, installed: str) -> Iterator[clusters.Cluster]:
    """The sample platform in `prod`, reachable from this process; removed at the end."""
    platform.remove(cluster)
    clusters.build_image(platform.IMAGE, platform.DOCKERFILE, base="platform")
    platform.deploy(cluster, "not used", datetime.now(UTC))
    cluster_setup.apply_runbook_for_outside(cluster)
    yield cluster
    platform.remove(cluster)


@pytest.fixture(scope="session")
def actors(cluster: clusters.Cluster) -> people.Actors:
    """alice, bob and mallory with certificates of their own."""
    return people.gather(cluster)


@pytest.fixture
async def proxy(cluster: clusters.Cluster) -> AsyncIterator[ApiserverProxy]:
    """A proxy between the operator and the apiserver."""
    access = await accesses.load(str(cluster.kubeconfig))
    assert access.tls is not None
    async with ApiserverProxy(access.server, cluster_setup.server_trust(cluster)) as made:
        yield made


@pytest.fixture
async def operator(
    installed: str, proxy: ApiserverProxy, stable: Stable, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[ForkedOperator]:
    """The operator for `prod`, as the chart's service account, through the proxy; at the end its Lease is free for the next.

    A test that counts writes chooses more seconds of Lease: a short one is lost on a busy machine, and that is written down.
    """
    config = kubeconfig(tmp_path / "kubeconfig", proxy.url, installed)
    more = {"INCIDENT_OPERATOR_LEASE_SECONDS": str(getattr(request, "param", 2))}
    process = ForkedOperator(config, tmp_path, "prod", more=more, stable=stable)
    await process.start()
    yield process
    await process.stop()


@pytest.fixture
def missing_pack(prod: clusters.Cluster) -> Iterator[witnesses.MissingPack]:
    """Tonight's pack was not built: no pack is fresh, and no Incident tells of it yet."""
    made = witnesses.MissingPack(prod)
    made.begin()
    yield made
    made.end()
