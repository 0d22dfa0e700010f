"""An open Incident is not deleted before it was aborted; the apiserver's own collectors work as everywhere."""

import asyncio

import pytest

from incident_operator.api.meta import API_VERSION
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import Forbidden, Kube, NotFound
from tests.approval_policy import people
from tests.approval_policy.cases import (
    ABORT,
    NEVER_VISITED,
    NOTHING_WAITS,
    PLAN_WAITS,
    QUESTION_WAITS,
    WITH_RUNBOOK,
    answers,
)
from tests.approval_policy.scenario import Scenario
from tests.crds import live, objects

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("propagation", ["Foreground", "Background", "Orphan"])
async def test_an_incident_is_deleted_with_what_it_owns(scenario: Scenario, propagation: str) -> None:
    name = await scenario.incident(PLAN_WAITS, WITH_RUNBOOK, {})
    admin = await scenario.client(people.ADMIN)
    await admin.merge_patch(discovery.incidents(scenario.namespace, name), answers(ABORT, "now cluster-admin"))
    incident, evidence = discovery.incidents(scenario.namespace, name), discovery.configmaps(scenario.namespace, name)
    await _owned_by(admin, await admin.get(incident), scenario.namespace)
    await admin.delete(incident, body={"propagationPolicy": propagation})
    assert await _gone(admin, incident)
    assert await _gone(admin, evidence) == (propagation != "Orphan")


async def _is_refused(scenario: Scenario, who: str, name: str) -> str:
    """What a person is told who deletes an Incident; empty where it is deleted."""
    client = await scenario.client(who)
    try:
        await client.delete(discovery.incidents(scenario.namespace, name))
    except Forbidden as refusal:
        return refusal.message
    return ""


@pytest.mark.parametrize("who", [people.ADMIN, people.MALLORY, people.DAVE, people.OPERATOR])
@pytest.mark.parametrize(
    "status", [NEVER_VISITED, NOTHING_WAITS, PLAN_WAITS, QUESTION_WAITS], ids=["new", "nothing", "plan", "question"]
)
async def test_nobody_deletes_an_open_incident(scenario: Scenario, who: str, status: dict | None) -> None:
    name = await scenario.incident(status, WITH_RUNBOOK, {})
    told = await _is_refused(scenario, who, name)
    assert f"Incident {name} is open, and deleting it would undo nothing; abort it first: kubectl annotate -n " in told
    assert f'incident {name} {ABORT}="now ' in told


async def test_a_list_of_open_incidents_is_not_deleted_either(scenario: Scenario) -> None:
    name = await scenario.incident(PLAN_WAITS, WITH_RUNBOOK, {"of": "the-list"})
    admin = await scenario.client(people.ADMIN)
    with pytest.raises(Forbidden, match="is open, and deleting it would undo nothing"):
        await admin.delete(f"{discovery.incidents(scenario.namespace)}?labelSelector=of%3Dthe-list")
    assert (await admin.get(discovery.incidents(scenario.namespace, name)))["metadata"]["name"] == name


async def test_who_may_not_abort_may_not_delete_by_claiming_that_they_did(scenario: Scenario) -> None:
    name = await scenario.incident(NOTHING_WAITS, WITH_RUNBOOK, {})
    mallory = await scenario.client(people.MALLORY)
    with pytest.raises(Forbidden, match='you need the verb "respond"'):
        await mallory.merge_patch(
            discovery.incidents(scenario.namespace, name), answers(ABORT, f"now {people.MALLORY}")
        )
    assert await _is_refused(scenario, people.MALLORY, name)


@pytest.mark.parametrize("phase", ["Resolved", "Failed", "Suppressed"])
@pytest.mark.parametrize("who", [people.ADMIN, people.MALLORY, people.OPERATOR])
async def test_anybody_with_the_right_to_deletes_a_closed_incident(scenario: Scenario, who: str, phase: str) -> None:
    name = await scenario.incident({"phase": phase}, WITH_RUNBOOK, {})
    assert await _is_refused(scenario, who, name) == ""


@pytest.mark.parametrize("who", [people.COLLECTOR, people.NAMESPACE_CONTROLLER])
async def test_collectors_delete_open_incidents(scenario: Scenario, who: str) -> None:
    name = await scenario.incident(PLAN_WAITS, WITH_RUNBOOK, {})
    assert await _is_refused(scenario, who, name) == ""


async def test_a_namespace_is_deleted_with_its_open_incidents(scenario: Scenario) -> None:
    with live.namespace("deletion") as namespace:
        opened = live.kubectl("create", "-n", namespace, "-f", "-", "-o", "name", stdin=objects.incident())
        assert opened.returncode == 0, opened.stderr
    admin = await scenario.client(people.ADMIN)
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
