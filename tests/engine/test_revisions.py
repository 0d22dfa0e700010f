"""Pinned Runbooks: what is kept is found again, and what somebody else planted under its name is not used."""

import re
from typing import Any

import pytest

from incident_operator.api.incident import EDITORS, LAST_EDITOR, REVIEWED, RUNBOOK_LABEL
from incident_operator.api.meta import is_object_name
from incident_operator.api.runbook import Runbook
from incident_operator.core.runbooks import reviews as known_editors
from incident_operator.engine import runbooks
from incident_operator.engine.runbooks import Altered, Revisions
from incident_operator.kubernetes import discovery
from tests.engine.fake_cluster import FakeCluster


async def kept(fake_cluster: FakeCluster) -> tuple[Runbook, str]:
    runbook = Runbook.model_validate(fake_cluster.api.object(discovery.runbooks("prod", "pack")))
    return runbook, await Revisions(fake_cluster.client).keep(runbook)


async def test_a_kept_runbook_is_read_again_by_the_next_process(pack: FakeCluster) -> None:
    runbook, revision = await kept(pack)
    found = await Revisions(pack.client).read("prod", revision)
    assert found is not None
    assert found.spec == runbook.spec


async def test_a_kept_runbook_is_read_once_by_a_process(pack: FakeCluster) -> None:
    _, revision = await kept(pack)
    revisions, before = Revisions(pack.client), len(pack.api.requests)
    assert await revisions.read("prod", revision) is await revisions.read("prod", revision)
    assert len(pack.api.requests) == before + 1


async def test_keeping_the_same_version_again_is_one_object_and_asks_once(pack: FakeCluster) -> None:
    runbook, revision = await kept(pack)
    revisions = Revisions(pack.client)
    assert {await revisions.keep(runbook) for _ in range(3)} == {revision}
    assert len(pack.api.objects(discovery.controllerrevisions("prod"))) == 1
    assert len(pack.api.writes) == 2  # the one that kept it, and the new process's own that met it there


async def test_another_spec_is_another_revision(pack: FakeCluster) -> None:
    runbook, revision = await kept(pack)
    edited = runbook.model_copy(update={"spec": runbook.spec.model_copy(update={"title": "other"})})
    assert await Revisions(pack.client).keep(edited) != revision


@pytest.mark.parametrize(
    "plant",
    [
        lambda data: {**data, "spec": {**data["spec"], "serviceAccountName": "admin"}},
        lambda data: {**data, "metadata": {**data["metadata"], "annotations": {EDITORS: "mallory@example.com"}}},
        lambda _: {"spec": {}},
        lambda _: None,
        lambda _: "text",
    ],
    ids=["another account", "another editor", "no metadata", "nothing", "text"],
)
async def test_a_planted_revision_is_not_used(pack: FakeCluster, plant: Any) -> None:
    _, revision = await kept(pack)
    path = discovery.controllerrevisions("prod", revision)
    stored = pack.api.object(path)
    pack.api.put({**stored, "data": plant(stored["data"])})
    assert await Revisions(pack.client).read("prod", revision) is None


def written_by(runbook: Runbook, **annotations: str) -> Runbook:
    metadata = runbook.metadata.model_copy(update={"annotations": annotations, "generation": 3})
    return runbook.model_copy(update={"metadata": metadata})


async def test_the_name_of_a_revision_carries_the_whole_digest(pack: FakeCluster) -> None:
    _, revision = await kept(pack)
    assert re.fullmatch("pack-[0-9a-f]{64}", revision)


async def test_what_was_planted_under_the_name_before_is_not_believed(pack: FakeCluster) -> None:
    runbook, revision = await kept(pack)
    stored = pack.api.object(discovery.controllerrevisions("prod", revision))
    pack.api.put({**stored, "data": {**stored["data"], "spec": {**stored["data"]["spec"], "title": "another"}}})
    with pytest.raises(Altered, match=f"ControllerRevision {revision} does not match the hash in its name"):
        await Revisions(pack.client).keep(runbook)


@pytest.mark.parametrize("same_process", [True, False])
async def test_two_contents_under_one_name_are_told_apart(
    pack: FakeCluster, monkeypatch: pytest.MonkeyPatch, same_process: bool
) -> None:
    monkeypatch.setattr(runbooks, "name", lambda _: "pack-collides")
    runbook, found = Runbook.model_validate(pack.api.object(discovery.runbooks("prod", "pack"))), Revisions(pack.client)
    await found.keep(runbook)
    with pytest.raises(Altered):
        await (found if same_process else Revisions(pack.client)).keep(
            written_by(runbook, **{EDITORS: "mallory@example.com"})
        )


@pytest.mark.parametrize(
    ("annotations", "editors"),
    [
        ({EDITORS: "bob\nalice\nbob"}, ("alice", "bob")),
        ({EDITORS: "Frank van Dam"}, ("Frank van Dam",)),
        ({LAST_EDITOR: "bob"}, ("bob",)),
        ({EDITORS: "alice", LAST_EDITOR: "bob"}, ("alice",)),
        ({EDITORS: "alice\nbob", REVIEWED: "3 carol"}, ()),
        ({EDITORS: "alice\nbob", REVIEWED: "2 carol"}, ("alice", "bob")),
        ({EDITORS: "alice\nbob", REVIEWED: "30 carol"}, ("alice", "bob")),
        ({EDITORS: "alice", REVIEWED: "3"}, ("alice",)),
        ({REVIEWED: "3 carol"}, None),
        ({EDITORS: ""}, None),
        ({EDITORS: "", LAST_EDITOR: "bob"}, None),
        ({}, None),
    ],
)
async def test_a_revision_keeps_who_wrote_it(
    pack: FakeCluster, annotations: dict[str, str], editors: tuple[str, ...] | None
) -> None:
    runbook, _ = await kept(pack)
    wrote = written_by(runbook, **annotations)
    assert known_editors.of(wrote) == editors
    found = await Revisions(pack.client).read("prod", await Revisions(pack.client).keep(wrote))
    assert found is not None
    assert known_editors.of_kept(found.metadata.annotations) == editors


async def test_a_revision_of_the_version_before_is_still_followed_and_names_its_editor(pack: FakeCluster) -> None:
    _, revision = await kept(pack)
    stored = pack.api.object(discovery.controllerrevisions("prod", revision))
    metadata = {**stored["data"]["metadata"], "annotations": {LAST_EDITOR: "bob@example.com"}}
    old = {**stored["data"], "metadata": metadata}
    short = runbooks.name(old)[: -64 + 16]
    pack.api.put({**stored, "metadata": {**stored["metadata"], "name": short}, "data": old})
    found = await Revisions(pack.client).read("prod", short)
    assert found is not None
    assert known_editors.of_kept(found.metadata.annotations) == ("bob@example.com",)


async def test_a_revision_that_is_gone_is_told_as_none(pack: FakeCluster) -> None:
    assert await Revisions(pack.client).read("prod", "pack-0000") is None


def test_a_revision_that_somebody_nested_without_end_is_not_genuine() -> None:
    deep: Any = "end"
    for _ in range(2000):
        deep = [deep]
    planted = {"metadata": {"name": "pack", "uid": "1", "annotations": {}}, "spec": deep}
    assert not runbooks._is_genuine(planted, "pack-0123456789abcdef")


@pytest.mark.parametrize("name", ["a" * 44 + ".b", "a" * 62 + "-b", "a" * 62 + ".b"])
async def test_a_runbook_is_kept_under_a_valid_name_and_label_however_long_its_own_is(
    pack: FakeCluster, name: str
) -> None:
    runbook = Runbook.model_validate(pack.api.object(discovery.runbooks("prod", "pack")))
    named = runbook.model_copy(update={"metadata": runbook.metadata.model_copy(update={"name": name})})
    revision = await Revisions(pack.client).keep(named)
    stored = pack.api.object(discovery.controllerrevisions("prod", revision))
    assert is_object_name(revision)
    assert stored["metadata"]["labels"][RUNBOOK_LABEL][-1].isalnum()
