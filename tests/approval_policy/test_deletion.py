"""The policies stand in the way of nobody who cleans up: the apiserver's own collectors work as everywhere."""

import asyncio

import pytest

from approval_policy import people
from approval_policy.cases import PLAN_WAITS, WITH_RUNBOOK
from approval_policy.ground import Ground
from incident_operator.api.meta import API_VERSION
from incident_operator.clients import paths
from incident_operator.clients.kube import Kube, NotFound

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("propagation", ["Foreground", "Background", "Orphan"])
async def test_an_incident_is_deleted_with_what_it_owns(ground: Ground, propagation: str) -> None:
    name = await ground.incident(PLAN_WAITS, WITH_RUNBOOK, {})
    admin = await ground.client(people.ADMIN)
    incident, evidence = paths.incidents(ground.namespace, name), paths.configmaps(ground.namespace, name)
    await _owned_by(admin, await admin.get(incident), ground.namespace)
    await admin.delete(incident, body={"propagationPolicy": propagation})
    assert await _gone(admin, incident)
    assert await _gone(admin, evidence) == (propagation != "Orphan")


async def _owned_by(admin: Kube, incident: dict, namespace: str) -> None:
    name, uid = incident["metadata"]["name"], incident["metadata"]["uid"]
    owner = {"apiVersion": API_VERSION, "kind": "Incident", "name": name, "uid": uid, "blockOwnerDeletion": True}
    metadata = {"name": name, "ownerReferences": [owner]}
    await admin.create(paths.configmaps(namespace), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


async def _gone(admin: Kube, path: str) -> bool:
    """Whether the object goes away in time, or for an orphan: stays, with no owner left.

    The garbage collector looks for new kinds every 30 s, so on a new cluster it may know nothing of Incidents before that.
    """
    for _ in range(900):
        try:
            found = await admin.get(path)
        except NotFound:
            return True
        if found["kind"] == "ConfigMap" and "ownerReferences" not in found["metadata"]:
            return False
        await asyncio.sleep(0.1)
    pytest.fail(f"{path} was neither deleted nor orphaned")
