"""A namespace is deleted and made again while Incidents are open: nothing is done in the new one for the old one's Incidents."""

import asyncio
from typing import Any

from incident_operator.api.incident import Phase
from incident_operator.engine.reconciler import Reconciler
from incident_operator.engine.recorder import Progress
from incident_operator.kubernetes import discovery
from tests.engine.fake_cluster import INCIDENT, FakeCluster, to_approval

Json = dict[str, Any]
KEPT = (discovery.incidents(*INCIDENT), discovery.runbooks("prod", "pack"))
KINDS = (
    discovery.incidents,
    discovery.runbooks,
    discovery.connections,
    discovery.configmaps,
    discovery.controllerrevisions,
)


def made_again(fake_cluster: FakeCluster, **annotations: str) -> str:
    """Delete all that is in the namespace, and make the same again as people and alerts would; return the new Incident's uid."""
    bodies = [fake_cluster.api.object(path) for path in KEPT]
    connections = fake_cluster.api.objects(discovery.connections("prod"))
    for kind in KINDS:
        for each in fake_cluster.api.objects(kind("prod")):
            fake_cluster.api.remove(kind("prod", each["metadata"]["name"]))
    for body in (*bodies, *connections):
        fake_cluster.api.put(anew(body))
    incident = fake_cluster.api.object(discovery.incidents(*INCIDENT))
    said = {f"incidents.dev/{verb}": value for verb, value in annotations.items()}
    fake_cluster.api.put({**incident, "metadata": {**incident["metadata"], "annotations": said}})
    return str(incident["metadata"]["uid"])


def anew(body: Json) -> Json:
    known = (
        {"name", "namespace", "annotations", "labels"}
        if body["kind"] != "Incident"
        else {"name", "namespace", "labels"}
    )
    metadata = {name: value for name, value in body["metadata"].items() if name in known}
    return {name: value for name, value in body.items() if name != "status"} | {"metadata": metadata}


async def acting(fake_cluster: FakeCluster, process: Reconciler) -> "asyncio.Task[Any]":
    """A process in the middle of an approved act."""
    await process.reconcile(INCIDENT)
    await fake_cluster.approve()
    fake_cluster.targets.holds["rebuild"], fake_cluster.targets.begun["rebuild"] = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(process.reconcile(INCIDENT))
    await fake_cluster.targets.begun["rebuild"].wait()
    return task


async def test_an_approval_of_the_old_one_is_none_in_the_new_one(pack: FakeCluster) -> None:
    process = pack.engine()
    await process.reconcile(INCIDENT)
    old = pack.incident()
    uid = made_again(pack, approve=f"{old.status.pending_approval.plan_hash} alice@example.com")
    await process.reconcile(INCIDENT)
    new = pack.incident()
    assert (new.metadata.uid, new.status.phase) == (uid, Phase.AWAITING_APPROVAL)
    assert uid != old.metadata.uid
    assert new.status.pending_approval.plan_hash != old.status.pending_approval.plan_hash
    assert pack.targets.done() == ["serve", "serve"], "the new Incident has its own protective act, under its own key"
    assert len({key for _, key in pack.targets.effects}) == 2


async def test_what_an_act_of_the_old_one_came_to_is_not_told_in_the_new_one(pack: FakeCluster) -> None:
    process = pack.engine()
    task = await acting(pack, process)
    uid = made_again(pack)
    pack.targets.holds["rebuild"].set()
    await task
    assert pack.incident().metadata.uid == uid
    assert pack.incident().status.steps == []
    await process.reconcile(INCIDENT)
    assert pack.incident().status.phase is Phase.AWAITING_APPROVAL
    assert pack.targets.done() == ["serve", "rebuild", "serve"]


async def test_what_could_not_be_stored_of_the_old_one_is_not_stored_in_the_new_one(pack: FakeCluster) -> None:
    process = pack.engine()
    await process.reconcile(INCIDENT)
    process.unstored[INCIDENT] = Progress.of(await process.state.read(*INCIDENT))
    made_again(pack)
    pack.targets.effects.clear()
    await process.reconcile(INCIDENT)
    assert pack.targets.done() == ["serve"], "it begins at the beginning"


async def test_who_edited_the_old_runbook_is_not_who_edited_the_new_one(pack: FakeCluster) -> None:
    process = pack.engine()
    await process.reconcile(INCIDENT)
    assert pack.incident().status.pending_approval.excluded == ["erin@example.com"]
    made_again(pack)
    runbook = pack.api.object(discovery.runbooks("prod", "pack"))
    meta = {**runbook["metadata"], "annotations": {"incidents.dev/editors": "frank@example.com"}}
    pack.api.put({**runbook, "metadata": meta})
    await process.reconcile(INCIDENT)
    assert pack.incident().status.pending_approval.excluded == ["frank@example.com"]


async def test_a_runbook_of_the_old_one_is_not_followed_in_the_new_one(pack: FakeCluster) -> None:
    process = pack.engine()
    await process.reconcile(INCIDENT)
    revision = pack.incident().status.runbook_revision
    made_again(pack)
    await process.reconcile(INCIDENT)
    assert pack.incident().status.runbook_revision != revision
    assert pack.api.objects(discovery.controllerrevisions("prod"))


async def test_evidence_of_the_old_one_is_none_of_the_new_one(pack: FakeCluster) -> None:
    await to_approval(pack)
    old = pack.incident().metadata.uid
    made_again(pack)
    await to_approval(pack)
    owners = {each["metadata"]["ownerReferences"][0]["uid"] for each in pack.api.objects(discovery.configmaps("prod"))}
    assert old not in owners
    assert pack.incident().status.reason == "AwaitingApproval"
