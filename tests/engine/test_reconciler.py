"""How an Incident advances on an apiserver: what is written, in which order, and what a person changes."""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from incident_operator.api.incident import Incident, IncidentStatus, Phase
from incident_operator.api.meta import ObjectKey, Severity, is_object_name
from incident_operator.core.action import Call
from incident_operator.core.alerts.matching import AlertScope
from incident_operator.core.outcomes import Failed, NotDone, Outcome, Succeeded
from incident_operator.engine.reconciler import LOOK_AGAIN, Reconciler
from incident_operator.engine.recorder import phase_changed
from incident_operator.engine.workers import Workers
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.priority import Priority
from incident_operator.kubernetes.state import State
from tests.engine.conftest import RUNBOOK
from tests.engine.fake_cluster import INCIDENT, FakeCluster, fake_cluster, to_approval, to_the_end


async def test_the_whole_way_does_each_effect_once_and_in_order(pack: FakeCluster) -> None:
    await to_the_end(pack)
    assert pack.targets.done() == ["serve", "rebuild", "mark", "undo-serve"]
    assert pack.incident().status.phase is Phase.RESOLVED


async def test_the_way_costs_one_write_per_effect_one_at_the_end_and_one_per_wait(pack: FakeCluster) -> None:
    await to_the_end(pack)
    effects, waits = 4, 2  # it waits for the approval, and for the alert to resolve
    assert pack.status_writes() == effects + 1 + waits


async def test_an_intent_is_stored_before_its_effect(pack: FakeCluster) -> None:
    seen: list[tuple[str, str]] = []

    def spy(call: Call) -> Outcome:
        seen.append((call.step, pack.state(call.step)))
        return Failed("NotFound", "no such row", retryable=False)

    pack.targets.answers["serve"] = spy
    await to_approval(pack)
    assert seen == [("serve", "Running")]


async def test_a_reconciliation_that_changes_nothing_writes_nothing(pack: FakeCluster) -> None:
    await to_approval(pack)
    await pack.background.drain()
    before = len(pack.api.writes)
    await pack.engine().reconcile(INCIDENT)
    assert len(pack.api.writes) == before


async def test_nothing_destructive_happens_without_an_approval(pack: FakeCluster) -> None:
    await to_approval(pack)
    pack.later(minutes=29)
    await pack.engine().reconcile(INCIDENT)
    assert pack.targets.done() == ["serve"]
    assert pack.incident().status.phase is Phase.AWAITING_APPROVAL


async def test_an_approval_of_another_plan_counts_for_nothing(pack: FakeCluster) -> None:
    await to_approval(pack)
    await pack.annotate("approve", "0123456789ab alice@example.com")
    await pack.engine().reconcile(INCIDENT)
    assert pack.targets.done() == ["serve"]


async def test_a_plan_that_changed_is_asked_again_with_the_difference(pack: FakeCluster) -> None:
    await to_approval(pack)
    before = pack.incident().status.pending_approval
    await pack.approve()
    pack.targets.previews["rebuild"] = "do something else"
    await pack.engine().reconcile(INCIDENT)
    pending = pack.incident().status.pending_approval
    assert before is not None
    assert pending is not None
    assert pending.plan_hash != before.plan_hash
    assert "do rebuild → do something else" in pending.changed
    assert pack.targets.done() == ["serve"]


async def test_a_change_of_the_second_step_is_noticed_after_the_first(pack: FakeCluster) -> None:
    await to_approval(pack)
    await pack.approve()

    def changing(call: Call) -> Outcome:
        pack.targets.previews["mark"] = "mark everything"
        return Succeeded({}, "built")

    pack.targets.answers["rebuild"] = changing
    await pack.engine().reconcile(INCIDENT)
    pending = pack.incident().status.pending_approval
    assert pack.targets.done() == ["serve", "rebuild"]
    assert pending is not None
    assert pending.steps == ["mark"]


async def test_a_plan_covers_what_can_be_rendered_and_then_a_person_is_called() -> None:
    at = "UPDATE p SET f = 2"
    text = RUNBOOK.replace(f'"{at}"', f'"{at} WHERE id = %(id)s", params: {{id: "${{steps.queries.outputs.id}}"}}')
    text = text.replace('"SELECT 2"}', '"SELECT 2"}\n  outputs: {id: "result.rows[7].id"}')
    async with fake_cluster(text) as pack:
        await to_approval(pack)
        pending = pack.incident().status.pending_approval
        assert pending is not None
        assert pending.steps == ["rebuild"]
        await pack.approve()
        await pack.engine().reconcile(INCIDENT)
        status = pack.incident().status
    assert (status.reason, pack.targets.done()) == ("PlanFailed", ["serve", "rebuild"])
    assert status.message.startswith("The plan for mark cannot be rendered: ")
    assert "params.id: queries gave no id" in status.message


async def test_a_plan_covers_as_much_as_a_person_can_read(pack: FakeCluster) -> None:
    pack.targets.previews = {"mark": "→" * 11_000}
    await to_approval(pack)
    pending = pack.incident().status.pending_approval
    assert pending is not None
    assert pending.steps == ["rebuild"]
    await pack.approve()
    await pack.engine().reconcile(INCIDENT)
    status = pack.incident().status
    assert (status.reason, pack.targets.done()) == ("PlanFailed", ["serve", "rebuild"])
    assert "mark: not approvable" in status.message


async def test_what_cannot_be_rendered_fails_and_is_never_run() -> None:
    needs = 'params: {id: "${steps.packs.outputs.last}"}'
    async with fake_cluster(RUNBOOK.replace('"SELECT 2"', f'"SELECT %(id)s", {needs}')) as pack:
        pack.targets.answers["packs"] = lambda _: Succeeded({"rows": []}, "0 rows")
        await to_approval(pack)
        records = {record.name: (record.state.value, record.reason) for record in pack.incident().status.steps}
    assert [call.step for call in pack.targets.calls] == ["packs"]
    assert records["queries"] == records["serve"] == ("Failed", "ExpressionFailed")


async def test_a_process_that_loses_the_lease_while_it_renders_stores_no_intent(pack: FakeCluster) -> None:
    await to_approval(pack)
    await pack.approve()
    lost: list[bool] = []
    pack.leads = lambda: not lost
    pack.targets.preview_of["rebuild"] = lambda: lost.append(True)
    await pack.engine().reconcile(INCIDENT)
    assert (pack.state("rebuild"), pack.targets.done()) == ("AwaitingApproval", ["serve"]), "left to who leads next"


async def test_a_missing_policy_stops_destructive_steps_only(pack: FakeCluster) -> None:
    pack.trust.why_not = "policy incident-approval is missing"
    await to_approval(pack)
    status = pack.incident().status
    assert (status.phase, status.reason) == (Phase.NEEDS_HUMAN, "ApprovalPolicyMissing")
    assert pack.targets.done() == ["serve"]


async def test_a_policy_that_goes_missing_after_the_question_stops_the_approved_step(pack: FakeCluster) -> None:
    await to_approval(pack)
    await pack.approve()
    pack.trust.why_not = "policy incident-approval is missing"
    await pack.engine().reconcile(INCIDENT)
    assert pack.incident().status.reason == "ApprovalPolicyMissing"
    assert pack.targets.done() == ["serve"]


async def test_a_resolved_alert_stops_before_the_next_destructive_step(pack: FakeCluster) -> None:
    await to_approval(pack)
    await pack.approve()
    await pack.resolve_alert()
    await pack.engine().reconcile(INCIDENT)
    assert pack.targets.done() == ["serve", "undo-serve"]
    assert pack.incident().status.phase is Phase.RESOLVED


async def test_an_alert_that_resolves_during_the_reconciliation_is_noticed_at_the_intent(pack: FakeCluster) -> None:
    await to_approval(pack)
    await pack.approve()
    path = discovery.incidents(*INCIDENT)
    body = pack.api.object(path)

    def resolve() -> None:
        alerts = [{**alert, "status": "resolved"} for alert in body["spec"]["alerts"]]
        pack.api.put({**pack.api.object(path), "spec": {**body["spec"], "alerts": alerts}})

    pack.api.interleave(resolve, method="PATCH", path="/status")
    await pack.engine().reconcile(INCIDENT)
    assert "rebuild" not in pack.targets.done()


async def test_an_alert_that_comes_while_it_closes_keeps_it_open(pack: FakeCluster) -> None:
    path = discovery.incidents(*INCIDENT)
    await pack.resolve_alert()

    def fire() -> None:
        body = pack.api.object(path)
        another = {"id": "a2", "startsAt": "2025-10-21T00:31:00Z", "status": "firing"}
        pack.api.put({**body, "spec": {**body["spec"], "alerts": [*body["spec"]["alerts"], another]}})

    pack.api.interleave(fire, method="PATCH", path="/status")
    await pack.engine().reconcile(INCIDENT)
    assert pack.incident().status.phase is Phase.AWAITING_APPROVAL
    await pack.resolve_alert()
    await pack.engine().reconcile(INCIDENT)
    assert pack.incident().status.phase is Phase.RESOLVED


async def test_a_persons_annotation_during_the_reconciliation_is_kept(pack: FakeCluster) -> None:
    path = discovery.incidents(*INCIDENT)

    def annotate() -> None:
        body = pack.api.object(path)
        body["metadata"].setdefault("annotations", {})["note"] = "looking at it"
        pack.api.put(body)

    pack.api.interleave(annotate, method="PATCH", path="/status")
    await to_approval(pack)
    assert pack.incident().metadata.annotations["note"] == "looking at it"
    assert pack.targets.done() == ["serve"]


def with_priority(pack: FakeCluster, priority: Priority) -> Reconciler:
    engine = pack.engine()
    return replace(engine, executor=replace(engine.executor, workers=Workers(priority)))


def make_mild(pack: FakeCluster) -> None:
    body = pack.api.object(discovery.incidents(*INCIDENT))
    pack.api.put({**body, "spec": {**body["spec"], "severity": "P3"}})


@pytest.mark.parametrize("mild", [True, False])
async def test_a_mild_reconciliation_begins_nothing_while_something_severe_has_the_priority(
    pack: FakeCluster, mild: bool
) -> None:
    if mild:
        make_mild(pack)
    priority = Priority(longest=60)
    with priority.held(urgent=True):
        reconcile = asyncio.create_task(with_priority(pack, priority).reconcile(INCIDENT))
        done, _ = await asyncio.wait([reconcile], timeout=2 if not mild else 0.5)
        assert bool(done) is not mild
        assert bool(pack.targets.calls) is not mild
    await reconcile
    assert pack.targets.done() == ["serve"]


async def test_a_reconciliation_that_has_acted_records_it_before_it_yields(pack: FakeCluster) -> None:
    make_mild(pack)
    priority = Priority(longest=60)
    with ExitStack() as severe:

        def comes_up(call: Call) -> Outcome:
            severe.enter_context(priority.held(urgent=True))
            return Succeeded({}, "1 row", {})

        pack.targets.answers["serve"] = comes_up
        await asyncio.wait_for(with_priority(pack, priority).reconcile(INCIDENT), 10)
        assert priority.is_held
        assert pack.state("serve") == "Succeeded"


class Comparing(State):
    """Holds what a reconciliation goes on from against what is stored."""

    async def store(self, incident: Incident, status: IncidentStatus, text: bytes) -> Incident:
        kept = await super().store(incident, status, text)
        assert kept == await self.read(kept.metadata.namespace, kept.metadata.name)
        return kept


async def test_a_reconciliation_goes_on_from_what_is_stored(pack: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.engine.fake_cluster.State", Comparing)
    await to_the_end(pack)


async def test_an_edited_runbook_counts_for_the_very_next_incident(pack: FakeCluster) -> None:
    engine = pack.engine()
    await engine.reconcile(INCIDENT)
    edited = pack.api.object(discovery.runbooks("prod", "pack"))
    pack.api.put({**edited, "spec": {**edited["spec"], "suspend": True}})
    first = pack.api.object(discovery.incidents(*INCIDENT))
    pack.api.put({**first, "metadata": {"name": "next-1", "namespace": "prod"}, "status": {}})
    await engine.reconcile(ObjectKey("prod", "next-1"))
    assert pack.api.object(discovery.incidents("prod", "next-1"))["status"]["reason"] == "RunbookSuspended"


async def test_each_phase_that_waits_or_ends_is_told_by_one_event(pack: FakeCluster) -> None:
    await to_the_end(pack)
    await pack.background.drain()
    told = [event["reason"] for event in pack.api.objects(discovery.events("prod"))]
    assert told == ["AwaitingApproval", "Verifying", "Resolved"]


async def test_a_missed_promise_of_a_blocked_incident_is_not_waited_for_without_end(pack: FakeCluster) -> None:
    await to_approval(pack)
    body = pack.api.object(discovery.incidents(*INCIDENT))
    missed = [{"name": "resolve", "deadline": "2025-10-21T00:31:00Z", "state": "Pending"}]
    pack.api.put({**body, "status": {**body["status"], "objectives": missed}})
    for revision in pack.api.objects(discovery.controllerrevisions("prod")):
        pack.api.remove(discovery.controllerrevisions("prod", revision["metadata"]["name"]))
    pack.later(minutes=5)
    again = await pack.engine().reconcile(INCIDENT)
    assert pack.incident().status.reason == "RunbookNotFound"
    assert again == pack.now + LOOK_AGAIN


async def test_an_acknowledgement_costs_one_write_and_is_looked_at_when_it_runs_out(pack: FakeCluster) -> None:
    await to_approval(pack)
    before = pack.status_writes()
    await pack.annotate("acknowledge", "5m alice@example.com")
    again = await pack.engine().reconcile(INCIDENT)
    assert again == pack.now + timedelta(minutes=5)
    assert "(alice@example.com is on it until " in pack.incident().status.waiting_for
    pack.later(minutes=5)
    await pack.engine().reconcile(INCIDENT)
    assert "is on it" not in pack.incident().status.waiting_for
    assert pack.status_writes() == before + 2


async def test_who_says_that_the_alert_is_over_ends_it_as_if_alertmanager_had(pack: FakeCluster) -> None:
    await to_approval(pack)
    await pack.annotate("over", f"{len(pack.incident().spec.alerts)} alice@example.com")
    await pack.engine().reconcile(INCIDENT)
    assert pack.targets.done() == ["serve", "undo-serve"]
    assert pack.incident().status.message.endswith("alice@example.com said that the alert is over.")
    assert pack.incident().spec.alerts[0].status == "firing"


async def test_an_abort_with_undo_takes_back_what_is_in_place(pack: FakeCluster) -> None:
    await to_approval(pack)
    await pack.annotate("abort", "undo alice@example.com")
    await pack.engine().reconcile(INCIDENT)
    assert pack.targets.done() == ["serve", "undo-serve"]
    assert pack.incident().status.phase is Phase.FAILED


async def test_an_act_that_certainly_never_began_has_failed_when_its_time_is_over(pack: FakeCluster) -> None:
    pack.targets.answers["serve"] = lambda _: NotDone(5, "not done so far")
    await to_approval(pack)
    assert pack.state("serve") == "Pending"
    pack.later(minutes=5)
    await pack.engine().reconcile(INCIDENT)
    assert (pack.incident().status.reason, pack.state("serve")) == ("StepFailed", "Failed")


async def test_an_event_of_an_incident_with_the_longest_name_has_a_name_that_the_apiserver_takes(
    pack: FakeCluster,
) -> None:
    incident = pack.incident()
    named = incident.metadata.model_copy(update={"name": f"{'a' * 249}.bcd", "resource_version": "123"})
    await phase_changed(pack.client, incident.model_copy(update={"metadata": named}), "test", pack.now)
    (event,) = pack.api.objects(discovery.events("prod"))
    assert event["metadata"]["name"] == f"{'a' * 249}.123"


class Noted(Priority):
    """Keeps who was let pass before others, and lets everybody pass."""

    def __init__(self, most: Mapping[str, Severity]) -> None:
        super().__init__(most)
        self.severe: set[bool] = set()

    async def yield_to_urgent(self, is_severe: bool) -> None:
        self.severe.add(is_severe)


@pytest.mark.parametrize(("ceiling", "severe"), [("P1", True), ("P2", False)])
async def test_an_incident_goes_no_further_ahead_than_its_namespace_may_and_says_so(
    pack: FakeCluster, ceiling: str, severe: bool
) -> None:
    scope = AlertScope(ceilings={"prod": Severity(ceiling)})
    noted, engine = Noted(scope.ceilings), pack.engine()
    executor = replace(engine.executor, workers=Workers(noted))
    await replace(engine, executor=executor, scope=scope).reconcile(INCIDENT)
    told = [each.message for each in pack.incident().status.conditions if each.type == "SeverityLowered"]
    assert (noted.severe, bool(told)) == ({severe}, not severe)


async def test_a_note_of_an_event_is_cut_by_bytes(pack: FakeCluster) -> None:
    incident = pack.incident()
    told = incident.model_copy(update={"status": incident.status.model_copy(update={"message": "→" * 900})})
    await phase_changed(pack.client, told, "test", pack.now)
    note = pack.api.objects(discovery.events("prod"))[-1]["note"]
    assert note == "→" * 341


@pytest.mark.parametrize("name", ["a" * 253, "a" * 249 + ".b", "a-" * 125 + "abc"])
async def test_an_event_of_an_incident_with_the_longest_name_has_a_valid_one(pack: FakeCluster, name: str) -> None:
    incident = pack.incident()
    named = incident.model_copy(update={"metadata": incident.metadata.model_copy(update={"name": name})})
    await phase_changed(pack.client, named, "test", pack.now)
    assert is_object_name(pack.api.objects(discovery.events("prod"))[-1]["metadata"]["name"])


async def test_an_incident_that_another_process_closes_meanwhile_is_left_as_it_is(pack: FakeCluster) -> None:
    def close() -> None:
        body = pack.api.object(discovery.incidents(*INCIDENT))
        pack.api.put({**body, "status": {"phase": "Failed", "message": "aborted", "writtenBy": "other/1"}})

    pack.api.interleave(close, method="PATCH", path="/status")
    assert await pack.engine().reconcile(INCIDENT) is None
    await pack.background.drain()
    assert pack.incident().status.message == "aborted"
    assert pack.api.objects(discovery.configmaps("prod")) == pack.api.objects(discovery.events("prod")) == []


async def test_another_incident_of_that_name_is_not_gone_on_with(pack: FakeCluster) -> None:
    def replace() -> None:
        body = pack.api.object(discovery.incidents(*INCIDENT))
        pack.api.remove(discovery.incidents(*INCIDENT))
        pack.api.put({**body, "metadata": {"name": INCIDENT.name, "namespace": "prod"}})

    pack.api.interleave(replace, method="PATCH", path="/status")
    assert await pack.engine().reconcile(INCIDENT) is None
    assert (pack.targets.done(), pack.incident().status.steps) == ([], [])


async def test_one_that_is_being_deleted_is_left_alone(pack: FakeCluster) -> None:
    body = pack.api.object(discovery.incidents(*INCIDENT))
    going = {"deletionTimestamp": "2025-10-21T00:31:00Z", "finalizers": ["x/y"]}
    pack.api.put({**body, "metadata": {**body["metadata"], **going}})
    assert await pack.engine().reconcile(INCIDENT) is None
    assert (pack.targets.calls, pack.status_writes()) == ([], 0)


async def test_a_closed_one_costs_one_read(pack: FakeCluster) -> None:
    await to_the_end(pack)
    await pack.background.drain()
    before = len(pack.api.requests)
    assert await pack.engine().reconcile(INCIDENT) is None
    assert len(pack.api.requests) == before + 1
