"""An open Incident is not deleted before it was aborted; the apiserver's own collectors work as everywhere."""

import asyncio

import pytest

from approval_policy import people
from approval_policy.cases import ABORT, NEVER_VISITED, NOTHING_WAITS, PLAN_WAITS, QUESTION_WAITS, WITH_RUNBOOK, answers
from approval_policy.ground import Ground
from crds import live, objects
from incident_operator.api.meta import API_VERSION
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import Forbidden, Kube, NotFound

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("propagation", ["Foreground", "Background", "Orphan"])
async def test_an_incident_is_deleted_with_what_it_owns(ground: Ground, propagation: str) -> None:
    name = await ground.incident(PLAN_WAITS, WITH_RUNBOOK, {})
    admin = await ground.client(people.ADMIN)
    await admin.merge_patch(discovery.incidents(ground.namespace, name), answers(ABORT, "now cluster-admin"))
    incident, evidence = discovery.incidents(ground.namespace, name), discovery.configmaps(ground.namespace, name)
    await _owned_by(admin, await admin.get(incident), ground.namespace)
    await admin.delete(incident, body={"propagationPolicy": propagation})
    assert await _gone(admin, incident)
    assert await _gone(admin, evidence) == (propagation != "Orphan")


async def _is_refused(ground: Ground, who: str, name: str) -> str:
    """What a person is told who deletes an Incident; empty where it is deleted."""
    client = await ground.client(who)
    try:
        await client.delete(discovery.incidents(ground.namespace, name))
    except Forbidden as refusal:
        return refusal.message
    return ""


@pytest.mark.parametrize("who", [people.ADMIN, people.MALLORY, people.DAVE, people.OPERATOR])
@pytest.mark.parametrize(
    "status", [NEVER_VISITED, NOTHING_WAITS, PLAN_WAITS, QUESTION_WAITS], ids=["new", "nothing", "plan", "question"]
)
async def test_nobody_deletes_an_open_incident(ground: Ground, who: str, status: dict | None) -> None:
    name = await ground.incident(status, WITH_RUNBOOK, {})
    told = await _is_refused(ground, who, name)
    assert f"Incident {name} is open, and deleting it would undo nothing; abort it first: kubectl annotate -n " in told
    assert f'incident {name} {ABORT}="now ' in told


async def test_a_list_of_open_incidents_is_not_deleted_either(ground: Ground) -> None:
    name = await ground.incident(PLAN_WAITS, WITH_RUNBOOK, {"of": "the-list"})
    admin = await ground.client(people.ADMIN)
    with pytest.raises(Forbidden, match="is open, and deleting it would undo nothing"):
        await admin.delete(f"{discovery.incidents(ground.namespace)}?labelSelector=of%3Dthe-list")
    assert (await admin.get(discovery.incidents(ground.namespace, name)))["metadata"]["name"] == name


async def test_who_may_not_abort_may_not_delete_by_claiming_that_they_did(ground: Ground) -> None:
    name = await ground.incident(NOTHING_WAITS, WITH_RUNBOOK, {})
    mallory = await ground.client(people.MALLORY)
    with pytest.raises(Forbidden, match='you need the verb "respond"'):
        await mallory.merge_patch(discovery.incidents(ground.namespace, name), answers(ABORT, f"now {people.MALLORY}"))
    assert await _is_refused(ground, people.MALLORY, name)


@pytest.mark.parametrize("phase", ["Resolved", "Failed", "Suppressed"])
@pytest.mark.parametrize("who", [people.ADMIN, people.MALLORY, people.OPERATOR])
async def test_anybody_with_the_right_to_deletes_a_closed_incident(ground: Ground, who: str, phase: str) -> None:
    name = await ground.incident({"phase": phase}, WITH_RUNBOOK, {})
    assert await _is_refused(ground, who, name) == ""


@pytest.mark.parametrize("who", [people.COLLECTOR, people.NAMESPACE_CONTROLLER])
async def test_collectors_delete_open_incidents(ground: Ground, who: str) -> None:
    name = await ground.incident(PLAN_WAITS, WITH_RUNBOOK, {})
    assert await _is_refused(ground, who, name) == ""


async def test_a_namespace_is_deleted_with_its_open_incidents(ground: Ground) -> None:
    with live.namespace("deletion") as namespace:
        opened = live.kubectl("create", "-n", namespace, "-f", "-", "-o", "name", stdin=objects.incident())
        assert opened.returncode == 0, opened.stderr
    admin = await ground.client(people.ADMIN)
    assert await _gone(admin, f"/api/v1/namespaces/{namespace}")


async def _owned_by(admin: Kube, incident: dict, namespace: str) -> None:
    name, uid = incident["metadata"]["name"], incident["metadata"]["uid"]
    owner = {"apiVersion": API_VERSION, "kind": "Incident", "name": name, "uid": uid, "blockOwnerDeletion": True}
    metadata = {"name": name, "ownerReferences": [owner]}
    await admin.create(discovery.configmaps(namespace), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


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
