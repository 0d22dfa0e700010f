"""Between an intent and its act: killed, aborted, expired, changed; by the real engine on an apiserver, judged by what was sent."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from incident_operator.api.incident import Phase
from incident_operator.core.outcomes import NotDone, Succeeded
from incident_operator.kubernetes import discovery
from tests.engine.conftest import RUNBOOK
from tests.engine.fake_cluster import INCIDENT, FakeCluster, Killed, fake_cluster
from tests.kubernetes.fake_faults import Fault

STEP = "rebuild"


async def killed_before_the_act(pack: FakeCluster) -> None:
    """Approved, the intent of the rebuild is stored, and the process killed before it sent anything."""
    await pack.engine().reconcile(INCIDENT)
    await pack.approve()
    pack.targets.kill_before = STEP
    with pytest.raises(Killed):
        await pack.engine().reconcile(INCIDENT)
    assert pack.state(STEP) == "Running"


async def aborted(pack: FakeCluster) -> None:
    await pack.annotate("abort", "now carol@example.com")


async def expired(pack: FakeCluster) -> None:
    pack.later(days=3)


async def resolved(pack: FakeCluster) -> None:
    await pack.resolve_alert()


async def changed(pack: FakeCluster) -> None:
    pack.targets.previews[STEP] = "rebuild with an init container that runs rm -rf /data"


async def untrusted(pack: FakeCluster) -> None:
    pack.trust.why_not = "approvals cannot be trusted: policy incident-approval is missing"


@pytest.mark.parametrize("meanwhile", [aborted, expired, resolved, changed, untrusted], ids=lambda one: one.__name__)
async def test_an_act_killed_before_it_was_sent_is_not_sent_once_a_guard_does_not_hold(
    pack: FakeCluster, meanwhile: Callable[[FakeCluster], Awaitable[None]]
) -> None:
    await killed_before_the_act(pack)
    sent = len(pack.targets.sent)
    await meanwhile(pack)
    for _ in range(3):
        await pack.engine().reconcile(INCIDENT)
        pack.later(minutes=1)
    assert pack.targets.looks == [STEP], "it was looked up, once"
    assert [one for one in pack.targets.sent[sent:] if one[0] == STEP] == []
    assert STEP not in pack.targets.done()


async def test_three_days_an_abort_and_other_policies_later_nothing_is_done(pack: FakeCluster) -> None:
    await killed_before_the_act(pack)
    for meanwhile in (expired, aborted, resolved, changed, untrusted):
        await meanwhile(pack)
    await pack.engine().reconcile(INCIDENT)
    status = pack.incident().status
    assert pack.targets.done() == ["serve"]
    assert status.phase is Phase.FAILED
    assert status.message.startswith("Aborted by carol@example.com; nothing more is done.")


async def test_an_act_killed_before_it_was_sent_is_sent_under_a_new_key_while_all_guards_hold(
    pack: FakeCluster,
) -> None:
    await killed_before_the_act(pack)
    await pack.engine().reconcile(INCIDENT)
    assert pack.targets.done() == ["serve", STEP, "mark"]
    assert len(pack.incident().status.approvals) == 1, "nobody is asked again"


async def test_what_is_sent_is_what_was_compared_though_the_world_changes_after_the_comparison(
    pack: FakeCluster,
) -> None:
    await pack.engine().reconcile(INCIDENT)
    await pack.approve()

    def change_after_it_is_shown() -> None:
        pack.targets.previews[STEP] = "something else" if shows else f"do {STEP}"
        shows.append(STEP)

    shows: list[str] = []
    pack.targets.preview_of[STEP] = change_after_it_is_shown
    await pack.engine().reconcile(INCIDENT)
    assert [thing for step, _, thing in pack.targets.sent if step == STEP] == [f"do {STEP}"]
    assert shows == [STEP], "it is rendered once for the comparison and the act"


async def test_a_marker_is_never_shown_in_a_status(pack: FakeCluster) -> None:
    await pack.engine().reconcile(INCIDENT)
    await pack.approve()
    await pack.engine().reconcile(INCIDENT)
    acts = {step for step, _, _ in pack.targets.sent}
    markers = {call.marker for call in pack.targets.calls if call.step in acts}
    text = pack.incident().to_bytes().decode()
    assert markers
    assert all(len(marker) == 64 and marker not in text for marker in markers)


@pytest.mark.parametrize("fault", [None, Fault.REPLY_LOST, Fault.SERVICE_UNAVAILABLE])
async def test_an_abort_is_recorded_while_an_act_goes_on(pack: FakeCluster, fault: Fault | None) -> None:
    await pack.engine().reconcile(INCIDENT)
    await pack.approve()
    pack.targets.holds[STEP], pack.targets.begun[STEP] = asyncio.Event(), asyncio.Event()
    acting = asyncio.create_task(pack.engine().reconcile(INCIDENT))
    await pack.targets.begun[STEP].wait()
    await aborted(pack)
    if fault is not None:
        pack.api.inject(fault, method="PATCH", path="/status")
    pack.in_flight.abort_came(INCIDENT)
    async with asyncio.timeout(10):
        while pack.incident().status.reason != "Aborting":
            await asyncio.sleep(0.01)
    status = pack.incident().status
    assert status.message.startswith("Aborting, as carol@example.com asked: rebuild still runs")
    assert not acting.done()
    pack.targets.holds[STEP].set()
    await acting
    status = pack.incident().status
    assert (status.phase, pack.state(STEP), pack.state("mark")) == (Phase.FAILED, "Succeeded", "Skipped")
    assert pack.targets.done() == ["serve", STEP], "nothing is undone, nothing is begun, and what was done is told"


async def test_an_abort_that_was_taken_back_before_it_could_be_recorded_changes_nothing(pack: FakeCluster) -> None:
    await pack.engine().reconcile(INCIDENT)
    await pack.approve()
    pack.targets.holds[STEP], pack.targets.begun[STEP] = asyncio.Event(), asyncio.Event()
    acting = asyncio.create_task(pack.engine().reconcile(INCIDENT))
    await pack.targets.begun[STEP].wait()
    reads = len(pack.api.requests)
    pack.in_flight.abort_came(INCIDENT)
    async with asyncio.timeout(10):
        while len(pack.api.requests) == reads:
            await asyncio.sleep(0.01)
    pack.targets.holds[STEP].set()
    await acting
    assert pack.targets.done() == ["serve", STEP, "mark"]


async def test_what_an_action_lacks_is_told_by_the_name_of_the_action_and_the_act_is_not_told_as_failed(
    pack: FakeCluster,
) -> None:
    await killed_before_the_act(pack)
    pack.targets.look = None  # type: ignore[method-assign, assignment]
    with capture_logs() as logs:
        await pack.engine().reconcile(INCIDENT)
    assert pack.state(STEP) == "Running"
    finished = [line["summary"] for line in logs if line["event"] == "Step finished"]
    assert finished == ["cannot tell whether it is done: LookupError in job; see the operator's log"]


async def test_an_abort_drops_a_read_that_hangs() -> None:
    async with fake_cluster(RUNBOOK) as pack:
        pack.targets.preview_of.clear()
        hangs = asyncio.Event()

        async def read(call: object, _: object) -> None:
            hangs.set()
            await asyncio.sleep(3600)

        pack.targets.read = read  # type: ignore[method-assign, assignment]
        reading = asyncio.create_task(pack.engine().reconcile(INCIDENT))
        await hangs.wait()
        await aborted(pack)
        pack.in_flight.abort_came(INCIDENT)
        await asyncio.wait_for(reading, 10)
        assert pack.incident().status.phase is Phase.FAILED


async def test_an_abort_in_the_middle_of_a_wait_that_has_not_begun_ends_the_act(pack: FakeCluster) -> None:
    await pack.engine().reconcile(INCIDENT)
    await pack.approve()
    pack.targets.answers[STEP] = lambda _: NotDone(5.0, "connection refused")
    await pack.engine().reconcile(INCIDENT)
    assert pack.state(STEP) == "Pending"
    await aborted(pack)
    del pack.targets.answers[STEP]
    await pack.engine().reconcile(INCIDENT)
    assert (pack.incident().status.phase, pack.targets.done()) == (Phase.FAILED, ["serve"])


async def test_an_act_begun_by_the_version_before_is_looked_up_without_what_that_version_did_not_keep(
    pack: FakeCluster,
) -> None:
    await killed_before_the_act(pack)
    body = pack.api.object(discovery.incidents(*INCIDENT))
    for step in body["status"]["steps"]:
        step.pop("seen", None)
        step.pop("since", None)
    pack.api.put(body)
    seen: list[object] = []

    def found(call):  # type: ignore[no-untyped-def]
        seen.append(call.seen)
        return Succeeded({}, "Job rebuild-3b9d succeeded")

    pack.targets.answers[STEP] = found
    await pack.engine().reconcile(INCIDENT)
    assert seen == [None]
    assert pack.state(STEP) == "Succeeded"
