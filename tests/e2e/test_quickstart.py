"""The quickstart: ten lines of Runbook scale a Deployment up, and back once the alert resolves."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from demonstration import cluster as clusters

from proofs.forking.operator import ForkedOperator
from proofs.forking.starter import Stable
from tests.e2e import cluster_setup, phases
from tests.e2e.apiserver_proxy import ApiserverProxy
from tests.e2e.conftest import REPOSITORY
from tests.e2e.operator_process import OperatorProcess, alert, kubeconfig
from tests.e2e.witnesses import AuditLog
from tests.kubernetes.garbage_collector import AS_COLLECTOR

pytestmark = pytest.mark.cluster
NAMESPACE = "quickstart"
EXAMPLE = REPOSITORY / "examples" / "quickstart"


@pytest.fixture(scope="module")
def web(cluster: clusters.Cluster, installed: str) -> Iterator[clusters.Cluster]:
    """The Deployment, the Runbook and its account, as they ship; two replicas run. What people try next finds none of it."""
    clusters.build_image("quickstart-web:dev", "examples/quickstart/Dockerfile")
    files = ("web.yaml", "rbac.yaml", "runbook.yaml")
    cluster.apply([each for file in files for each in yaml.safe_load_all((EXAMPLE / file).read_text()) if each])
    cluster.apply(cluster_setup.served(NAMESPACE))
    cluster.kubectl("scale", "deployment/web", "--replicas=2", "-n", NAMESPACE)
    cluster.roll_out(NAMESPACE, "web")
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", timeout=120)


@pytest.fixture
async def operator(
    installed: str, proxy: ApiserverProxy, web: clusters.Cluster, stable: Stable, tmp_path: Path
) -> AsyncIterator[ForkedOperator]:
    """The operator for `quickstart`."""
    web.kubectl("delete", "incidents", "--all", "-n", NAMESPACE, *AS_COLLECTOR)
    config = kubeconfig(tmp_path / "kubeconfig", proxy.url, installed)
    steady = {"INCIDENT_OPERATOR_LEASE_SECONDS": "15"}  # nobody is killed here, and a lost Lease costs writes
    process = ForkedOperator(config, tmp_path, NAMESPACE, more=steady, stable=stable)
    await process.start()
    yield process
    await process.stop()


def replicas(web: clusters.Cluster) -> int:
    return int((web.get("deployment", "web", "-n", NAMESPACE) or {})["spec"]["replicas"])


async def waits_for(web: clusters.Cluster, phase: str) -> dict[str, Any]:
    return await asyncio.to_thread(phases.wait_for, web, NAMESPACE, phase)


async def test_a_latency_alert_scales_up_and_its_end_scales_back(
    operator: OperatorProcess, web: clusters.Cluster
) -> None:
    audit, began = AuditLog(web, NAMESPACE), datetime.now(UTC)
    labels = {"alertname": "HighLatency", "namespace": NAMESPACE, "severity": "warning"}
    assert (await operator.post(alert(began, **labels)))[0] == 200
    await waits_for(web, "Verifying")
    assert replicas(web) == 5
    assert (await operator.post(alert(began, "resolved", **labels)))[0] == 200
    await waits_for(web, "Resolved")
    assert replicas(web) == 2
    effects, waits = 2, 1
    assert len(audit.writes("incidents/status")) == effects + 1 + waits


async def test_a_repeated_alert_costs_no_write_and_a_second_one_joins(
    operator: OperatorProcess, web: clusters.Cluster
) -> None:
    began = datetime.now(UTC)
    labels = {"alertname": "HighLatency", "namespace": NAMESPACE, "severity": "warning"}
    first = alert(began, **labels)
    await operator.post(first)
    await waits_for(web, "Verifying")
    audit = AuditLog(web, NAMESPACE)
    for _ in range(5):
        await operator.post(first)
    assert audit.writes("incidents") == []
    await operator.post(alert(began, **labels, pod="web-2"))
    assert [len(item["spec"]["alerts"]) for item in phases.incidents(web, NAMESPACE)] == [2]
    await operator.post(alert(began, "resolved", **labels))
    (still,) = phases.incidents(web, NAMESPACE)
    assert still["status"]["phase"] == "Verifying", "the second alert still fires"
    await operator.post(alert(began, "resolved", **labels, pod="web-2"))
    await waits_for(web, "Resolved")


async def test_somebody_elses_scaling_is_not_overwritten_by_the_undo(
    operator: OperatorProcess, web: clusters.Cluster
) -> None:
    began = datetime.now(UTC)
    labels = {"alertname": "HighLatency", "namespace": NAMESPACE, "severity": "warning"}
    await operator.post(alert(began, **labels))
    await waits_for(web, "Verifying")
    web.kubectl("scale", "deployment/web", "--replicas=3", "-n", NAMESPACE)
    await operator.post(alert(began, "resolved", **labels))
    stopped = await waits_for(web, "NeedsHuman")
    assert replicas(web) == 3
    assert "3 replicas now" in stopped["status"]["message"]
    web.kubectl("scale", "deployment/web", "--replicas=2", "-n", NAMESPACE)
