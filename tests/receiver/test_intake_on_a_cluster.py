"""The intake against a real apiserver: schema, policies and resourceVersions as they are, as the operator's account."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from incident_operator.core.alerts.matching import AlertScope
from incident_operator.kubernetes import access, discovery
from incident_operator.kubernetes.apiserver import Kube
from tests.crds import live
from tests.receiver import messages, receiver_setup
from tests.receiver.messages import alert, resolved

pytestmark = pytest.mark.cluster

OPERATOR = ("incident-operator-system", "incident-operator")


def rights(namespace: str) -> list[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    named = {"name": "receiver", "namespace": namespace}
    rule = {"apiGroups": ["incidents.dev"], "resources": ["incidents", "incidents/status"]}
    subject = {"kind": "ServiceAccount", "namespace": OPERATOR[0], "name": OPERATOR[1]}
    reference = {"apiGroup": group, "kind": "Role", "name": "receiver"}
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "Role",
            "metadata": named,
            "rules": [{**rule, "verbs": ["get", "list", "create", "patch"]}],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": named,
            "subjects": [subject],
            "roleRef": reference,
        },
    ]


@dataclass(frozen=True, slots=True)
class ReceivingNamespace:
    """A namespace of a real apiserver, and the operator's way to it."""

    kube: Kube
    namespace: str

    def replica(self) -> receiver_setup.Replica:
        scope = AlertScope(only=self.namespace)
        return receiver_setup.replica(self.kube, messages.runbook(namespace=self.namespace), scope=scope)

    async def incidents(self) -> list[Any]:
        return [stored async for stored in self.kube.list(discovery.incidents(self.namespace))]

    async def incident(self) -> Any:
        (only,) = await self.incidents()
        return only

    async def close(self, incident: Any) -> None:
        path = discovery.incidents(self.namespace, incident["metadata"]["name"], "status")
        await self.kube.json_patch(path, [{"op": "add", "path": "/status", "value": {"phase": "Resolved"}}])


@pytest.fixture(scope="module")
def served() -> None:
    live.install()


@pytest.fixture
async def receiving(served: None) -> AsyncIterator[ReceivingNamespace]:
    with live.namespace("receiver") as namespace:
        live.apply("-f", "-", stdin=rights(namespace))
        async with Kube(await access.load(live.kubeconfig())) as kube:
            yield ReceivingNamespace(kube.acting_as(*OPERATOR), namespace)


def statuses(incident: Any) -> list[str]:
    return [listed["status"] for listed in incident["spec"]["alerts"]]


async def test_an_incident_lives_through_its_alerts_and_is_followed_by_the_next(receiving: ReceivingNamespace):
    one = receiving.replica()
    await one.take(alert(pod="a"), truncated=2)
    await one.take(alert(pod="a"), alert(pod="b"))
    await one.take(resolved(pod="a"))
    first = await receiving.incident()
    assert statuses(first) == ["resolved", "firing"]
    assert first["spec"]["truncatedAlerts"] == 2
    await receiving.close(first)
    await one.take(alert(pod="a", starts="2025-10-22T00:00:00Z"))
    await one.take(resolved(pod="b"))
    closed, opened = sorted(await receiving.incidents(), key=lambda each: each["metadata"]["name"])
    assert statuses(closed) == ["resolved", "resolved"]
    assert closed["status"] == {"phase": "Resolved"}
    assert statuses(opened) == ["firing"]
    restarted = receiving.replica()
    await restarted.take(alert(pod="a", starts="2025-10-22T00:00:00Z"), alert(pod="a"))
    assert len(await receiving.incidents()) == 2


async def test_hostile_labels_are_stored_as_they_are(receiving: ReceivingNamespace):
    hostile = {"a": "'; DROP TABLE pack; --", "b": "$(reboot) ${x}", "c": 'q"\\\n\t🙂<&>', "d/e~f": "x" * 1024}
    await receiving.replica().take(alert(**hostile))
    stored = (await receiving.incident())["spec"]["commonLabels"]
    assert stored == {"alertname": "PackFailed", **hostile}


async def test_an_incident_of_two_thousand_alerts_is_small_where_it_is_stored(receiving: ReceivingNamespace):
    storm = [alert(pod=f"pod-{number}", note="<" * 50) for number in range(2000)]
    one = receiving.replica()
    await one.take(*storm[:700])
    await one.take(*storm)
    await one.take(*storm)
    stored = await receiving.incident()
    spec = stored["spec"]
    assert (len(spec["alerts"]), spec["alertsOmitted"]) == (1000, 1000)
    assert len(orjson.dumps(stored)) < 256 * 1024
    assert one.counted("intake_writes_total", kind="changed") == 1


async def test_two_replicas_store_the_same_alerts_once(receiving: ReceivingNamespace):
    replicas = [receiving.replica(), receiving.replica()]
    posts = [(replica, str(number)) for number in range(20) for replica in replicas]
    await asyncio.gather(*(replica.take(alert(pack_date=number, pod="a")) for replica, number in posts))
    await asyncio.gather(*(replica.take(alert(pack_date=number, pod="b")) for replica, number in posts))
    stored = await receiving.incidents()
    assert len(stored) == 20
    assert {tuple(statuses(each)) for each in stored} == {("firing", "firing")}
