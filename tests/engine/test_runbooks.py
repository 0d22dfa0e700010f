"""Which Runbook is in force: read whole once for a storm of Incidents, and anew after an edit."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from incident_operator.api.incident import REVIEWED
from incident_operator.api.runbook import Runbook
from incident_operator.core.machine.view import Blocked, Pinned
from incident_operator.engine.runbooks import Revisions, Runbooks
from incident_operator.kubernetes import discovery
from incident_operator.receiver.routing import RunbookIndex
from tests.engine.fake_cluster import EDITOR, INCIDENT, FakeCluster, edited_by, runbooks_of

RUNBOOK = discovery.runbooks("prod", "pack")


def _whole_reads(pack: FakeCluster) -> int:
    """Connections are read where a Runbook is read whole, and compiled."""
    return sum(request.path == discovery.connections("prod", "read") for request in pack.api.requests)


async def _in_force(pack: FakeCluster, runbooks: Runbooks, times: int) -> set[str]:
    incident = pack.incident()
    found = await asyncio.gather(*(runbooks.in_force(incident) for _ in range(times)))
    return {each.revision for each in found if isinstance(each, Pinned)}


async def test_incidents_that_begin_together_read_their_runbook_once(pack: FakeCluster) -> None:
    runbooks = runbooks_of(pack.client)
    assert len(await _in_force(pack, runbooks, 20)) == 1
    assert _whole_reads(pack) == 1


async def test_an_edited_runbook_is_read_again(pack: FakeCluster) -> None:
    runbooks = runbooks_of(pack.client)
    before = await _in_force(pack, runbooks, 2)
    edited = pack.api.object(RUNBOOK)
    pack.api.put({**edited, "spec": {**edited["spec"], "title": "Another"}})
    after = await _in_force(pack, runbooks, 20)
    assert (len(before | after), _whole_reads(pack)) == (2, 2)


async def test_the_editors_are_those_of_the_steps_that_are_followed(pack: FakeCluster) -> None:
    runbooks = runbooks_of(pack.client)
    first = await runbooks.in_force(pack.incident())
    assert isinstance(first, Pinned)
    changed(pack, discovery.incidents(*INCIDENT), "status", runbookRevision=first.revision)
    pack.api.put(edited_by(pack.api.object(RUNBOOK), EDITOR, "mallory@example.com"))
    for process in (runbooks, runbooks_of(pack.client)):
        followed = await process.in_force(pack.incident())
        assert isinstance(followed, Pinned)
        assert (followed.revision, followed.editors) == (first.revision, (EDITOR,))


async def test_a_review_is_seen_by_the_incidents_that_begin_afterwards(pack: FakeCluster) -> None:
    runbooks = runbooks_of(pack.client)
    before = await runbooks.in_force(pack.incident())
    body = edited_by(pack.api.object(RUNBOOK), EDITOR, "mallory@example.com")
    reviewed = {REVIEWED: f"{body['metadata'].get('generation', 0)} carol@example.com"}
    body["metadata"]["annotations"] |= reviewed
    pack.api.put(body)
    after = await runbooks.in_force(pack.incident())
    assert isinstance(before, Pinned)
    assert isinstance(after, Pinned)
    assert (before.editors, after.editors) == ((EDITOR,), ())


async def test_an_alert_that_only_runbooks_of_other_namespaces_match_is_told_of_them(pack: FakeCluster) -> None:
    index = RunbookIndex()
    index.note({"metadata": {"namespace": "dev", "name": "web"}, "spec": {"match": ['alertname="PackFailed"']}})
    changed(pack, discovery.incidents(*INCIDENT), "spec", runbookRef=None)
    found = await runbooks_of(pack.client, elsewhere=index.elsewhere).in_force(pack.incident())
    assert isinstance(found, Blocked)
    assert found.message.startswith(
        "No Runbook takes PackFailed; nothing was done. Runbook dev/web matches it, but a Runbook takes"
    )
    assert 'Set namespace="dev" on the alert' in found.message


async def test_a_runbook_whose_revision_was_planted_is_not_begun(pack: FakeCluster) -> None:
    pinned = await runbooks_of(pack.client).in_force(pack.incident())
    assert isinstance(pinned, Pinned)
    changed(pack, discovery.controllerrevisions("prod", pinned.revision), "data", spec={"title": "planted"})
    found = await runbooks_of(pack.client).in_force(pack.incident())
    assert isinstance(found, Blocked)
    assert (found.reason, "does not match the hash in its name" in found.message) == ("RunbookNotReady", True)


def nested(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = [value]
    return value


def changed(pack: FakeCluster, path: str, part: str, **fields: Any) -> None:
    body = pack.api.object(path)
    pack.api.put({**body, part: {**body.get(part, {}), **fields}})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda pack: changed(pack, discovery.incidents(*INCIDENT), "spec", runbookRef=None), "NoRunbook"),
        (lambda pack: pack.api.remove(RUNBOOK), "RunbookNotFound"),
        (lambda pack: changed(pack, RUNBOOK, "spec", suspend=True), "RunbookSuspended"),
        (lambda pack: changed(pack, RUNBOOK, "spec", surprise=nested(200)), "RunbookNotReady"),
        (
            lambda pack: changed(pack, RUNBOOK, "spec", verify=[{"name": "a", "scale": {"replicas": []}}]),
            "RunbookNotReady",
        ),
        (
            lambda pack: changed(pack, discovery.incidents(*INCIDENT), "status", runbookRevision="gone"),
            "RunbookNotFound",
        ),
    ],
    ids=[
        "none matches",
        "it is gone",
        "it is suspended",
        "it is nested too deep",
        "an action is malformed",
        "its revision is gone",
    ],
)
async def test_where_no_runbook_can_be_used_it_says_why(
    pack: FakeCluster, change: Callable[[FakeCluster], object], reason: str
) -> None:
    change(pack)
    found = await runbooks_of(pack.client).in_force(pack.incident())
    assert isinstance(found, Blocked)
    assert found.reason == reason


async def test_a_pinned_runbook_that_this_version_cannot_compile_is_not_followed(pack: FakeCluster) -> None:
    runbook = Runbook.model_validate(pack.api.object(RUNBOOK))
    for_ever = [runbook.spec.mitigate[0].model_copy(update={"undo": None})]
    odd = runbook.model_copy(update={"spec": runbook.spec.model_copy(update={"mitigate": for_ever})})
    revisions = Revisions(pack.client)
    changed(pack, discovery.incidents(*INCIDENT), "status", runbookRevision=await revisions.keep(odd))
    found = await runbooks_of(pack.client, revisions).in_force(pack.incident())
    assert isinstance(found, Blocked)
    assert found.reason == "RunbookNotReady"


async def test_a_known_runbook_costs_a_look_at_its_version_and_a_pinned_one_nothing(pack: FakeCluster) -> None:
    runbooks = runbooks_of(pack.client)
    first = await runbooks.in_force(pack.incident())
    assert isinstance(first, Pinned)
    before = len(pack.api.requests)
    assert await runbooks.in_force(pack.incident()) is first
    assert len(pack.api.requests) == before + 1
    changed(pack, discovery.incidents(*INCIDENT), "status", runbookRevision=first.revision)
    pinned = await runbooks.in_force(pack.incident())
    assert isinstance(pinned, Pinned)
    assert pinned.compiled is first.compiled
    assert len(pack.api.requests) == before + 1


async def test_an_incident_that_follows_an_earlier_version_than_the_present_one_knows_it(pack: FakeCluster) -> None:
    revisions = Revisions(pack.client)
    runbooks = runbooks_of(pack.client, revisions)
    first = await runbooks.in_force(pack.incident())
    assert isinstance(first, Pinned)
    changed(pack, discovery.incidents(*INCIDENT), "status", runbookRevision=first.revision)

    async def edited(**spec: Any) -> bool:
        body = pack.api.object(RUNBOOK)
        pack.api.put({**body, "spec": {**body["spec"], **spec}})
        await revisions.keep(Runbook.model_validate(pack.api.object(RUNBOOK)))
        followed = await runbooks.in_force(pack.incident())
        assert isinstance(followed, Pinned)
        assert followed.revision == first.revision
        return followed.edited

    title = pack.api.object(RUNBOOK)["spec"]["title"]
    assert not await edited()
    assert await edited(title="Another")
    assert not await edited(title=title), "it is as it was"
    pack.api.put(edited_by(pack.api.object(RUNBOOK), EDITOR, "mallory@example.com"))
    assert not await edited(), "who wrote it changes none of its steps"
