"""etcd is restored from a backup, and the apiserver is away: on real ones that belong to the test alone."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.crds import live
from tests.e2e.operator_process import LEASE_NAMESPACE, OperatorProcess, alert
from tests.proofs.field.control_plane import ControlPlane, until

pytestmark = pytest.mark.cluster

NAMESPACE = "prod"
RUNBOOK = {
    "apiVersion": "incidents.dev/v1alpha1",
    "kind": "Runbook",
    "metadata": {"name": "pack", "namespace": NAMESPACE},
    "spec": {
        "title": "Pack failed",
        "severity": "P1",
        "serviceAccountName": "rb",
        "match": ['alertname="PackFailed"', f'namespace="{NAMESPACE}"'],
        "groupBy": ["pack"],
        "diagnose": [{"name": "pods", "get": {"kind": "Pod", "apiVersion": "v1", "selector": {"app": "pack"}}}],
    },
}


def program() -> Path:
    """The cluster's binary, built once per machine."""
    code = "import sys; sys.path.insert(0, 'hack/cluster')\nfrom devcluster import binary, settings\nfrom pathlib import Path\n"
    code += "print(binary.ensure(Path.home() / '.cache' / 'incident-operator') / 'cluster')"
    done = subprocess.run([sys.executable, "-c", code], cwd=live.CLONE, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip().splitlines()[-1])


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane with this checkout's definitions, a namespace and a Runbook."""
    made = ControlPlane(program(), tmp_path)
    try:
        made.start()
        for path in sorted((live.CLONE / "crds").glob("incidents.dev_*.yaml")):
            kubectl(made, "apply", "-f", str(path))
        kubectl(made, "wait", "--for=condition=Established", "--timeout=30s", "crd/incidents.incidents.dev",
                "crd/runbooks.incidents.dev", "crd/connections.incidents.dev")  # fmt: skip
        for name in (NAMESPACE, LEASE_NAMESPACE):
            kubectl(made, "create", "namespace", name)
        until(lambda: applies(made, RUNBOOK), "the definitions are served")
        yield made
    finally:
        made.stop()


@pytest.fixture
async def operator(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[OperatorProcess]:
    """The operator as a process, before that control plane."""
    folder = tmp_path / "operator"
    folder.mkdir()
    process = OperatorProcess(plane.kubeconfig, folder, NAMESPACE)
    await process.start()
    try:
        yield process
    finally:
        await process.kill()


def applies(plane: ControlPlane, body: dict[str, Any]) -> bool:
    """Tell whether the apiserver takes it: a definition is served a moment after it was made."""
    try:
        kubectl(plane, "apply", "-f", "-", stdin=yaml.safe_dump(body))
    except AssertionError:
        return False
    return True


def kubectl(plane: ControlPlane, *arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        [live.program("kubectl"), "--kubeconfig", str(plane.kubeconfig), *arguments],
        input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def incidents(plane: ControlPlane) -> list[str]:
    told = kubectl(plane, "get", "incidents", "-n", NAMESPACE, "-o", "jsonpath={.items[*].spec.commonLabels.pack}")
    return sorted(told.split())


def fired(pack: str) -> dict[str, Any]:
    return alert(datetime(2026, 11, 30, tzinfo=UTC), alertname="PackFailed", namespace=NAMESPACE, pack=pack)


async def taken(operator: OperatorProcess, pack: str, seconds: float = 60.0) -> None:
    """Send an alert again and again, as Alertmanager does, until it is acknowledged."""
    async with asyncio.timeout(seconds):
        while True:
            status, _ = await operator.post(fired(pack))
            if status == 200:
                return
            await asyncio.sleep(0.5)


async def test_an_etcd_that_is_restored_is_noticed_and_no_alert_is_lost(
    plane: ControlPlane, operator: OperatorProcess
) -> None:
    """etcd is restored from a backup: the operator ends by itself, and the next one opens again what the restore lost."""
    await taken(operator, "before")
    plane.stop()
    plane.keep()
    plane.start()
    for number in range(20):
        await taken(operator, f"after-{number}")
    assert len(incidents(plane)) == 21
    plane.stop()
    plane.restore()
    plane.start()
    assert incidents(plane) == ["before"]
    assert operator.process is not None
    assert await asyncio.wait_for(operator.process.wait(), 150) == 1
    log = operator.log.read_text()
    assert "the cluster was restored from a backup" in log
    assert "Traceback" not in log.rpartition("restored from a backup")[2]
    await operator.start()
    for number in range(20):
        await taken(operator, f"after-{number}")
    await taken(operator, "before")
    assert len(incidents(plane)) == 21


async def test_an_apiserver_that_is_away_is_waited_for_without_haste(
    plane: ControlPlane, operator: OperatorProcess
) -> None:
    """The apiserver is away for a minute: alerts are refused with 503 until it is back, and waiting for it costs next to nothing."""
    await taken(operator, "before")
    assert operator.process is not None
    process = psutil.Process(operator.process.pid)
    plane.stop()
    cpu, began = sum(process.cpu_times()[:2]), time.monotonic()
    refused = [(await operator.post(fired("meanwhile")))[0]]
    await asyncio.sleep(60)
    refused.append((await operator.post(fired("meanwhile")))[0])
    used = sum(process.cpu_times()[:2]) - cpu
    assert refused == [503, 503]
    assert used < 0.1 * (time.monotonic() - began), f"{used:.1f}s of CPU while nothing could be done"
    plane.start()
    await taken(operator, "meanwhile")
    assert incidents(plane) == ["before", "meanwhile"]
    assert operator.process.returncode is None, "it is the same process"
