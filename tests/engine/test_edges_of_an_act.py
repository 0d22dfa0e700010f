"""At the edges of an act: another process, a status that cannot be stored, an earlier attempt, an outage, a slow preview."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from incident_operator.api.incident import Incident, IncidentStatus
from incident_operator.api.meta import ObjectMeta
from incident_operator.core.action import Call, Preview
from incident_operator.core.outcomes import NotDone, Outcome, Pending, Succeeded, Undetermined
from incident_operator.engine.reconciler import Reconciler
from incident_operator.engine.recorder import Progress
from incident_operator.kubernetes import apiserver
from tests.engine.fake_cluster import INCIDENT, FakeCluster, InFlight, Killed, fake_cluster
from tests.kubernetes.fake_faults import Fault

STEP = "rebuild"
KEYED = """
title: "x"
severity: P1
serviceAccountName: rb
match: ['alertname="PackFailed"']
mitigate:
- name: pause
  http: {connection: api, method: POST, path: /pause, idempotencyKey: Idempotency-Key}
  undo: {http: {connection: api, method: POST, path: /resume, idempotencyKey: Idempotency-Key}}
verify:
- name: works
  http: {connection: api, method: POST, path: /execute, safe: true}
  expect: result.status == 200
"""
DRAINED = """
title: "x"
severity: P1
serviceAccountName: rb
match: ['alertname="PackFailed"']
mitigate:
- name: drain
  exec: {target: statefulset/cache, command: [drain]}
  undo: {exec: {target: statefulset/cache, command: [undrain]}}
- name: more
  scale: {target: deployment/web, replicas: 5}
  undoOn: [Resolved, Failed]
verify:
- name: works
  http: {connection: api, method: POST, path: /execute, safe: true}
  expect: result.status == 200
"""


def sent(pack: FakeCluster, step: str) -> int:
    return len([name for name, *_ in pack.targets.sent if name == step])


async def in_the_act(
    pack: FakeCluster, process: Reconciler | None = None
) -> tuple["asyncio.Task[Any]", asyncio.Event, InFlight]:
    """A process whose approved act goes on, what ends the act, and where it hears of an abort."""
    process = process or pack.engine()
    await process.reconcile(INCIDENT)
    await pack.approve()
    pack.targets.holds[STEP], pack.targets.begun[STEP] = asyncio.Event(), asyncio.Event()
    acting = asyncio.create_task(process.reconcile(INCIDENT))
    await pack.targets.begun[STEP].wait()
    hears, pack.in_flight = pack.in_flight, InFlight()
    return acting, pack.targets.holds.pop(STEP), hears


async def test_a_process_that_another_one_took_over_from_does_not_overwrite_what_that_one_does(
    pack: FakeCluster,
) -> None:
    acting, goes_on, hears = await in_the_act(pack)

    def answer(call: Call[Any]) -> Outcome:
        return NotDone(0.0, "was not started") if call.attempt == 1 else Pending(5.0, "running for 1s")

    pack.targets.answers[STEP] = answer
    other = pack.engine()
    await other.reconcile(INCIDENT)
    await pack.annotate("abort", "now carol@example.com")
    hears.abort_came(INCIDENT)
    for _ in range(10):
        await asyncio.sleep(0)
    goes_on.set()
    await acting
    await other.reconcile(INCIDENT)
    record = next(each for each in pack.incident().status.steps if each.name == STEP)
    assert (record.state.value, record.attempt) == ("Running", 2)
    assert pack.incident().status.reason == "Aborting"


async def test_an_unkeyed_act_whose_outcome_could_not_be_stored_is_not_probed_and_sent_again(
    probed_cache: FakeCluster,
) -> None:
    pack = probed_cache
    await pack.engine().reconcile(INCIDENT)
    await pack.approve()

    def unclear(_: Call[Any]) -> Outcome:
        pack.api.inject(Fault.SERVICE_UNAVAILABLE, method="PATCH", path="/status", times=3)
        return Undetermined("did not end within 30s; it may still run")

    pack.targets.answers["flush"] = unclear
    process = pack.engine()
    with pytest.raises(apiserver.ApiError):
        await process.reconcile(INCIDENT)
    assert pack.state("flush") == "Running"
    await process.reconcile(INCIDENT)
    assert (sent(pack, "flush"), pack.state("flush")) == (1, "Unknown")


async def test_what_could_not_be_stored_is_void_once_another_process_has_written(pack: FakeCluster) -> None:
    await pack.engine().reconcile(INCIDENT)
    await pack.approve()

    def not_yet(_: Call[Any]) -> Outcome:
        pack.api.inject(Fault.SERVICE_UNAVAILABLE, method="PATCH", path="/status", times=3)
        return NotDone(0.0, "was not started")

    pack.targets.answers[STEP] = not_yet
    process = pack.engine()
    with pytest.raises(apiserver.ApiError):
        await process.reconcile(INCIDENT)

    def answer(call: Call[Any]) -> Outcome:
        return NotDone(0.0, "was not started") if call.attempt == 1 else Pending(5.0, "running for 1s")

    pack.targets.answers[STEP] = answer
    await pack.engine().reconcile(INCIDENT)
    await process.reconcile(INCIDENT)
    assert sent(pack, STEP) == 2, "one attempt of each process"


async def test_the_outcome_of_an_unkeyed_act_is_stored_before_the_next_act_is_shown() -> None:
    async with fake_cluster(DRAINED) as pack:
        stored: list[str] = []

        def dies() -> None:
            stored.append(pack.state("drain"))
            raise Killed

        pack.targets.preview_of["more"] = dies
        with pytest.raises(Killed):
            await pack.engine().reconcile(INCIDENT)
        assert stored == ["Succeeded"]


async def test_an_undo_takes_back_what_its_own_attempt_changed_and_not_an_earlier_one() -> None:
    async with fake_cluster(DRAINED) as pack:
        undone: list[dict[str, Any]] = []

        async def show(call: Call[Any], _: object, trial: bool) -> Preview:
            return Preview(
                f"do {call.step}", bound=call.step, seen={"uid": "u", "before": 3, "after": 5, "marker": "m"}
            )

        async def act(call: Call[Any], *_: object) -> Outcome:
            if call.step == "more" and call.attempt == 1:
                return Succeeded({}, "scaled", {"before": 2, "after": 5, "uid": "u"})
            if call.step == "more":
                return Undetermined("nobody can tell")
            if call.undo_of is not None and "more" in call.step:
                undone.append(dict(call.undo_of.captured))
            return Succeeded({}, "done")

        pack.targets.show, pack.targets.act = show, act  # type: ignore[method-assign, assignment]
        pack.targets.answers["works"] = lambda _: Succeeded({"status": 500}, "500")
        process = pack.engine()
        await process.reconcile(INCIDENT)
        asked = pack.incident().status.pending_answer
        assert asked is not None
        await pack.annotate("retry", f"{asked.token} carol@example.com")
        await process.reconcile(INCIDENT)
        assert pack.state("more") == "Unknown"
        asked = pack.incident().status.pending_answer
        assert asked is not None
        await pack.annotate("resolve", f"{asked.token}=done carol@example.com")
        await process.reconcile(INCIDENT)
        assert undone == [{"before": 2, "after": 5, "uid": "u"}, {"before": 3, "after": 5, "uid": "u"}]


async def test_how_long_an_earlier_try_went_on_does_not_count_for_a_step_that_is_asked_for_again(
    pack: FakeCluster,
) -> None:
    process = pack.engine()
    await process.reconcile(INCIDENT)
    await pack.approve()
    pack.targets.answers[STEP] = lambda _: NotDone(1.0, "changed since it was looked at")
    await process.reconcile(INCIDENT)
    pack.targets.previews[STEP] = "rebuild anew"
    pack.later(seconds=5)
    await process.reconcile(INCIDENT)
    assert pack.state(STEP) == "AwaitingApproval"
    pack.later(minutes=20)
    await pack.approve()
    await process.reconcile(INCIDENT)
    assert pack.state(STEP) == "Pending"


async def test_a_keyed_call_is_not_sent_again_where_the_alert_resolves_while_it_is_shown() -> None:
    async with fake_cluster(KEYED) as pack:
        process = pack.engine()
        pack.targets.answers["pause"] = lambda _: Pending(2.0, "cannot tell: connection lost")
        await process.reconcile(INCIDENT)
        pack.later(seconds=10)

        def resolves() -> None:
            body = pack.incident().to_json()
            for alert in body["spec"]["alerts"]:
                alert["status"] = "resolved"
            pack.api.put(body)

        pack.targets.preview_of["pause"] = resolves
        await process.reconcile(INCIDENT)
        assert sent(pack, "pause") == 1


async def test_an_approval_that_ends_while_its_plan_is_compared_is_not_used(pack: FakeCluster) -> None:
    await pack.engine().reconcile(INCIDENT)
    await pack.approve()
    pack.targets.preview_of[STEP] = lambda: pack.later(hours=5)
    await pack.engine().reconcile(INCIDENT)
    assert sent(pack, STEP) == 0


async def test_what_a_person_says_is_not_done_is_looked_at_once_more_before_it_is_done_again(pack: FakeCluster) -> None:
    acting, goes_on, _ = await in_the_act(pack)
    process = pack.engine()
    pack.targets.answers[STEP] = lambda _: Pending(2.0, "cannot tell whether it is done: forbidden")
    await process.reconcile(INCIDENT)
    pack.later(minutes=12)
    await process.reconcile(INCIDENT)
    assert pack.state(STEP) == "Unknown"
    del pack.targets.answers[STEP]
    looks = len(pack.targets.looks)
    asked = pack.incident().status.pending_answer
    assert asked is not None
    await pack.annotate("resolve", f"{asked.token}=not-done carol@example.com")
    await process.reconcile(INCIDENT)
    assert len(pack.targets.looks) == looks + 1
    goes_on.set()
    await acting


async def test_where_no_look_can_tell_a_person_is_believed(pack: FakeCluster) -> None:
    process = pack.engine()
    await process.reconcile(INCIDENT)
    await pack.approve()
    pack.targets.answers[STEP] = lambda _: Undetermined("Job rebuild-1 was deleted by somebody")
    await process.reconcile(INCIDENT)
    asked = pack.incident().status.pending_answer
    assert asked is not None
    await pack.annotate("resolve", f"{asked.token}=not-done carol@example.com")
    await process.reconcile(INCIDENT)
    assert pack.targets.looks == []
    assert pack.state(STEP) == "AwaitingApproval"


@pytest.mark.parametrize(
    ("answer", "state"),
    [(Pending(2.0, "cannot tell whether it is done: 503"), "Running"), (NotDone(1.0, "was not started"), "Pending")],
)
async def test_after_an_outage_the_first_look_does_not_decide_alone(
    pack: FakeCluster, answer: Outcome, state: str
) -> None:
    await pack.engine().reconcile(INCIDENT)
    await pack.approve()
    pack.targets.kill_before = STEP
    with pytest.raises(Killed):
        await pack.engine().reconcile(INCIDENT)
    pack.later(minutes=12)
    pack.targets.answers[STEP] = lambda _: answer
    await pack.engine(led_for=30).reconcile(INCIDENT)
    assert pack.state(STEP) == state


@pytest.mark.parametrize(
    ("key", "seen", "state"),
    [
        ("another", True, "Unknown"),
        ("the same", True, "Running"),
        ("another", False, "Running"),  # begun by a version that kept no mark: the action tells what it finds
    ],
)
async def test_what_is_found_by_its_marker_is_unknown_once_the_key_of_markers_was_replaced(
    key: str, seen: bool, state: str
) -> None:
    async with fake_cluster(DRAINED) as pack:
        pack.targets.answers["more"] = lambda _: Pending(5.0, "cannot tell: no answer")
        await pack.engine().reconcile(INCIDENT)
        if not seen:
            body = pack.incident().to_json()
            (record,) = [each for each in body["status"]["steps"] if each["name"] == "more"]
            record.pop("seen")
            pack.api.put(body)
        pack.later(seconds=10)
        await (pack.engine(key=b"x" * 32) if key == "another" else pack.engine()).reconcile(INCIDENT)
        assert pack.state("more") == state
        told = "the key of the operator's markers changed" in pack.incident().status.message
        assert told == (state == "Unknown")


async def test_a_job_is_found_by_its_uid_whatever_became_of_the_key_of_markers(pack: FakeCluster) -> None:
    await pack.engine().reconcile(INCIDENT)
    await pack.approve()
    pack.targets.answers[STEP] = lambda _: Pending(5.0, "Job rebuild-1: running for 1s")
    await pack.engine().reconcile(INCIDENT)
    pack.later(seconds=10)
    await pack.engine(key=b"x" * 32).reconcile(INCIDENT)
    assert pack.state(STEP) == "Running"


def test_what_is_known_of_an_incident_says_nothing_of_another_one_of_its_name() -> None:
    first, second = (Incident(metadata=ObjectMeta(name="pack", namespace="prod", uid=uid)) for uid in ("u-1", "u-2"))
    known = Progress.of(first).knowing(IncidentStatus(message="known"))
    assert known.on(first).working.status.message == "known"
    assert known.on(second) == Progress.of(second)


async def test_a_process_that_does_not_lead_any_more_leaves_an_abort_to_the_one_that_does(pack: FakeCluster) -> None:
    leads, engine = [True], pack.engine()
    executor = replace(engine.executor, may_act=lambda: leads[0])
    acting, goes_on, hears = await in_the_act(pack, replace(engine, executor=executor, stopping=lambda: not leads[0]))
    leads[0] = False
    await pack.annotate("abort", "now carol@example.com")
    hears.abort_came(INCIDENT)
    goes_on.set()
    await acting
    assert pack.state(STEP) == "Succeeded", "what it began is told"
    assert not [answer for answer in pack.incident().status.answers if answer.verb == "abort"]
