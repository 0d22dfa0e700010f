"""An Incident whose status is older than what was done, as after a restore: nothing is done twice, and a person is asked."""

import copy
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from incident_operator.api.incident import Phase
from incident_operator.core.outcomes import Failed, RolledBack, Succeeded
from incident_operator.engine.evidence import ACTS, EVIDENCE, configmap_name
from incident_operator.kubernetes import discovery
from tests.engine.conftest import RUNBOOK
from tests.engine.fake_cluster import INCIDENT, FakeCluster, Killed, fake_cluster, to_approval, to_the_end

Json = dict[str, Any]
INCIDENT_PATH = discovery.incidents(*INCIDENT)
REASON = "RecordRolledBack"


LONG = {"rows": [{"id": "PP-2025-10-20", "told": "x" * 400}], "status": 200}
"""A result that does not fit into a summary, so that it is evidence."""


@pytest.fixture
def pack(pack: FakeCluster) -> FakeCluster:
    """Its acts bring results that are kept as evidence."""
    for step in ("packs", "serve", "rebuild", "mark"):
        pack.targets.answers[step] = lambda _: Succeeded(LONG, "1 row", {"before": 1, "after": 2})
    return pack


def status(fake_cluster: FakeCluster) -> Json:
    return copy.deepcopy(fake_cluster.api.object(INCIDENT_PATH).get("status") or {})


def restore(fake_cluster: FakeCluster, was: Json) -> None:
    """Put a status of earlier in the place of today's, and let the alert fire as it did then."""
    body = fake_cluster.api.object(INCIDENT_PATH)
    alerts = [{**alert, "status": "firing"} for alert in body["spec"]["alerts"]]
    metadata = {**body["metadata"], "annotations": {}}
    fake_cluster.api.put({**body, "metadata": metadata, "spec": {**body["spec"], "alerts": alerts}, "status": was})


async def nothing(_: FakeCluster) -> None:
    """It has just been opened."""


async def to_diagnosis(fake_cluster: FakeCluster) -> None:
    """Diagnosed, when the process died at its first act; its intent is taken out."""
    fake_cluster.targets.kill_before = "serve"
    with pytest.raises(Killed):
        await fake_cluster.engine().reconcile(INCIDENT)
    was = status(fake_cluster)
    kept = {"name", "stage", "action", "effect"}
    was["steps"] = [
        {name: value for name, value in step.items() if name in kept} if step["name"] == "serve" else step
        for step in was["steps"]
    ]
    fake_cluster.api.put({**fake_cluster.api.object(INCIDENT_PATH), "status": was})


@pytest.mark.parametrize("yesterday", [nothing, to_diagnosis], ids=["not begun", "diagnosed"])
async def test_an_act_that_only_its_evidence_knows_of_is_not_done_again(
    pack: FakeCluster, yesterday: Callable[[FakeCluster], Any]
) -> None:
    await yesterday(pack)
    was = status(pack)
    await to_the_end(pack)
    assert pack.targets.done() == ["serve", "rebuild", "mark", "undo-serve"]
    sent = len(pack.targets.sent)
    restore(pack, was)
    await pack.engine().reconcile(INCIDENT)
    found = pack.incident().status
    assert (found.phase, found.reason) == (Phase.NEEDS_HUMAN, REASON)
    assert (
        "The status of this Incident was rolled back, as a restore from a backup does. serve: ConfigMap "
        in found.message
    )
    assert 'incidents.dev/resolve="serve/1=done' in found.message
    assert found.waiting_for == "a person: the record is too old"
    assert len(pack.targets.sent) == sent, "nothing is sent once more"


async def test_a_plan_that_waits_is_withdrawn_where_its_acts_were_done(pack: FakeCluster) -> None:
    await to_approval(pack)
    was = status(pack)
    await pack.approve()
    await pack.engine().reconcile(INCIDENT)
    await pack.resolve_alert()
    await pack.engine().reconcile(INCIDENT)
    sent = len(pack.targets.sent)
    restore(pack, was)
    await pack.engine().reconcile(INCIDENT)
    found = pack.incident().status
    assert (found.phase, found.reason, found.pending_approval) == (Phase.NEEDS_HUMAN, REASON, None)
    assert "the status is older than what was done" in found.approvals[-1].reason
    assert len(pack.targets.sent) == sent


async def test_a_person_says_what_was_done_of_each_and_it_goes_on_from_there(pack: FakeCluster) -> None:
    await to_approval(pack)
    was = status(pack)
    await pack.approve()
    await pack.engine().reconcile(INCIDENT)
    restore(pack, was)
    engine = pack.engine()
    await engine.reconcile(INCIDENT)
    for _ in range(10):
        question = pack.incident().status.pending_answer
        if question is None:
            break
        await pack.annotate("resolve", f"{question.token}=done alice@example.com")
        await engine.reconcile(INCIDENT)
    await pack.resolve_alert()
    await engine.reconcile(INCIDENT)
    assert pack.incident().status.phase is Phase.RESOLVED
    assert pack.targets.done() == ["serve", "rebuild", "mark", "undo-serve"]


async def test_a_crash_between_evidence_and_status_is_not_taken_for_one(pack: FakeCluster) -> None:
    """Evidence is written before the status that tells of it: what was only read may well be newer than the status."""
    pack.targets.kill_before = "serve"
    with pytest.raises(Killed):
        await pack.engine().reconcile(INCIDENT)
    assert pack.api.object(evidence_of(pack))["metadata"]["annotations"] == {ACTS: ""}
    pack.api.put({**pack.api.object(INCIDENT_PATH), "status": {}})
    await pack.engine().reconcile(INCIDENT)
    assert pack.incident().status.phase is Phase.AWAITING_APPROVAL


async def test_a_first_life_that_only_read_has_nothing_that_could_be_done_twice(cache: FakeCluster) -> None:
    await cache.engine().reconcile(INCIDENT)
    cache.api.put({**cache.api.object(INCIDENT_PATH), "status": {}})
    await cache.engine().reconcile(INCIDENT)
    assert cache.incident().status.phase is Phase.AWAITING_APPROVAL


async def test_evidence_of_an_older_version_tells_by_its_keys(pack: FakeCluster) -> None:
    path = evidence_of(pack)
    owner = {"apiVersion": "incidents.dev/v1alpha1", "kind": "Incident", "uid": pack.incident().metadata.uid}
    meta = {"name": path.rpartition("/")[2], "namespace": "prod", "ownerReferences": [{**owner, "name": INCIDENT.name}]}
    pack.api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"rebuild.json": "{}"}})
    await pack.engine().reconcile(INCIDENT)
    found = pack.incident().status
    assert (found.phase, found.reason) == (Phase.NEEDS_HUMAN, REASON)
    assert "has evidence of attempt 1, which the status does not record" in found.message
    assert pack.targets.done() == []


async def test_a_mark_that_is_found_where_an_act_is_about_to_begin_stops_it(pack: FakeCluster) -> None:
    def found() -> None:
        raise RolledBack("a row has the key of this step; it says done at 03:00, 1 row changed")

    pack.targets.preview_of["serve"] = found
    await pack.engine().reconcile(INCIDENT)
    told = pack.incident().status
    assert (told.phase, told.reason) == (Phase.NEEDS_HUMAN, REASON)
    assert "serve: a row has the key of this step; it says done at 03:00, 1 row changed." in told.message
    assert pack.targets.done() == []
    assert pack.state("serve") == "Unknown"


async def test_a_mark_that_a_plans_trial_finds_stops_it_before_anybody_is_asked(pack: FakeCluster) -> None:
    def found() -> None:
        raise RolledBack("Job rebuild-1 was started by it")

    pack.targets.preview_of["rebuild"] = found
    await pack.engine().reconcile(INCIDENT)
    told = pack.incident().status
    assert (told.phase, told.reason, told.pending_approval) == (Phase.NEEDS_HUMAN, REASON, None)


async def test_not_done_has_it_begun_anew_under_another_key(pack: FakeCluster) -> None:
    def found() -> None:
        del pack.targets.preview_of["serve"]
        raise RolledBack("a row has the key of this step")

    pack.targets.preview_of["serve"] = found
    await pack.engine().reconcile(INCIDENT)
    await pack.annotate("resolve", "serve/1=not-done alice@example.com")
    await pack.engine().reconcile(INCIDENT)
    assert pack.targets.done() == ["serve"]
    assert [call.attempt for call in pack.targets.calls if call.step == "serve"] == [2]


async def test_a_status_that_was_written_for_another_incident_is_not_gone_on_with(pack: FakeCluster) -> None:
    """A backup puts an Incident back under a new uid: every key, and with it every mark, would be another one."""
    await to_approval(pack)
    body = pack.api.object(INCIDENT_PATH)
    pack.api.remove(INCIDENT_PATH)
    meta = {key: value for key, value in body["metadata"].items() if key not in {"uid", "resourceVersion"}}
    pack.api.put({**body, "metadata": meta})
    sent = len(pack.targets.sent)
    await pack.engine().reconcile(INCIDENT)
    found = pack.incident().status
    assert (found.phase, found.reason) == (Phase.NEEDS_HUMAN, REASON)
    assert "written for another Incident of this name" in found.message
    assert "serve started there" in found.message
    assert 'incidents.dev/abort="now' in found.message
    await pack.annotate("abort", "now alice@example.com")
    await pack.engine().reconcile(INCIDENT)
    assert pack.incident().status.phase is Phase.FAILED
    assert len(pack.targets.sent) == sent


async def test_a_pinned_revision_that_is_gone_is_told_and_nothing_is_done(pack: FakeCluster) -> None:
    await to_approval(pack)
    revision = pack.incident().status.runbook_revision
    pack.api.remove(discovery.controllerrevisions("prod", revision))
    await pack.approve()
    await pack.engine().reconcile(INCIDENT)
    found = pack.incident().status
    assert (found.phase, found.reason) == (Phase.NEEDS_HUMAN, "RunbookNotFound")
    assert f"ControllerRevision {revision}" in found.message
    assert pack.targets.done() == ["serve"]


async def test_whose_evidence_a_process_has_made_is_not_looked_at(pack: FakeCluster) -> None:
    await to_approval(pack)
    assert [one.path for one in pack.api.requests if one.params.get("dryRun") and "/configmaps" in one.path] == []


@pytest.mark.parametrize(("age", "looks"), [(0, 0), (59, 0), (60, 2), (-1, 2)])
async def test_of_a_new_incident_there_is_no_earlier_evidence_to_look_at(
    spare: FakeCluster, age: int, looks: int
) -> None:
    created = datetime.fromisoformat(spare.api.object(INCIDENT_PATH)["metadata"]["creationTimestamp"])
    spare.now = created + timedelta(seconds=age)
    spare.targets.kill_before = "serve"
    with pytest.raises(Killed):
        await spare.engine().reconcile(INCIDENT)
    assert len([one for one in spare.api.requests if one.params.get("dryRun")]) == looks


async def test_evidence_that_may_not_be_looked_at_stops_nothing(pack: FakeCluster) -> None:
    pack.api.forbid("", "patch", "configmaps")
    pack.api.forbid("", "create", "configmaps")
    await to_approval(pack)
    assert pack.incident().status.phase is Phase.AWAITING_APPROVAL


def evidence_of(fake_cluster: FakeCluster) -> str:
    return discovery.configmaps("prod", configmap_name(fake_cluster.incident().metadata.uid, EVIDENCE))


async def test_a_report_tells_of_acts_too_where_no_result_was_long_enough_to_be_kept(spare: FakeCluster) -> None:
    await to_the_end(spare)
    assert [
        each["metadata"]["name"].rpartition("-")[2] for each in spare.api.objects(discovery.configmaps("prod"))
    ] == ["report"]
    sent = len(spare.targets.sent)
    restore(spare, {})
    await spare.engine().reconcile(INCIDENT)
    found = spare.incident().status
    assert (found.phase, found.reason) == (Phase.NEEDS_HUMAN, REASON)
    assert len(spare.targets.sent) == sent


async def test_an_undo_that_only_the_evidence_knows_of_is_asked_about_like_any_act(pack: FakeCluster) -> None:
    await to_approval(pack)
    was = status(pack)
    await pack.approve()
    await pack.engine().reconcile(INCIDENT)
    await pack.resolve_alert()
    await pack.engine().reconcile(INCIDENT)
    restore(pack, was)
    await pack.engine().reconcile(INCIDENT)
    told = {each.name: each.state.value for each in pack.incident().status.steps}
    assert told["undo-serve"] == "Unknown"


async def test_an_undo_that_the_status_knows_of_an_earlier_attempt_is_asked_about_once(pack: FakeCluster) -> None:
    pack.targets.answers["undo-serve"] = lambda _: Failed("StatementFailed", "refused", retryable=False)
    await to_approval(pack)
    await pack.approve()
    await pack.engine().reconcile(INCIDENT)
    await pack.resolve_alert()
    await pack.engine().reconcile(INCIDENT)
    was = status(pack)
    del pack.targets.answers["undo-serve"]
    await pack.annotate("retry", f"{pack.incident().status.pending_answer.token} alice@example.com")
    await pack.engine().reconcile(INCIDENT)
    assert pack.incident().status.phase is Phase.RESOLVED
    restore(pack, was)
    await pack.resolve_alert()
    await pack.annotate("retry", f"{was['pendingAnswer']['token']} alice@example.com")
    await pack.engine().reconcile(INCIDENT)
    found = [each for each in pack.incident().status.steps if each.name == "undo-serve"]
    assert [(each.state.value, each.attempt) for each in found] == [("Unknown", 2)]
    assert pack.incident().status.reason == REASON


@pytest.mark.parametrize("acts", ["packs/7", "undo-rebuild/1", "elsewhere/1", "nonsense", "serve/x"])
async def test_what_cannot_be_an_act_of_the_incident_tells_nothing(pack: FakeCluster, acts: str) -> None:
    await to_approval(pack)
    evidence = pack.api.object(evidence_of(pack))
    pack.api.put({**evidence, "metadata": {**evidence["metadata"], "annotations": {ACTS: acts}}})
    await pack.engine().reconcile(INCIDENT)
    assert pack.incident().status.phase is Phase.AWAITING_APPROVAL


async def test_without_its_runbook_an_incident_that_resolved_by_itself_is_closed_all_the_same(
    pack: FakeCluster,
) -> None:
    pack.targets.kill_before = "serve"
    with pytest.raises(Killed):
        await pack.engine().reconcile(INCIDENT)
    body = status(pack)
    body["steps"] = [
        {**step, "attempt": 0, "state": "Pending"} if step["name"] == "serve" else step for step in body["steps"]
    ]
    for step in body["steps"]:
        if step["name"] == "serve":
            step.pop("key")
    pack.api.put({**pack.api.object(INCIDENT_PATH), "status": body})
    pack.api.remove(discovery.controllerrevisions("prod", body["runbookRevision"]))
    await pack.resolve_alert()
    await pack.engine().reconcile(INCIDENT)
    assert pack.incident().status.phase is Phase.RESOLVED


async def test_where_nothing_can_be_done_twice_nothing_is_looked_at() -> None:
    async with fake_cluster(RUNBOOK.partition("mitigate:")[0]) as reads_only:
        await reads_only.resolve_alert()
        await reads_only.engine().reconcile(INCIDENT)
        assert reads_only.incident().status.phase is Phase.RESOLVED
        assert [one for one in reads_only.api.requests if one.params.get("dryRun")] == []
