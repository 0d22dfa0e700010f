"""What only the leader does: begun with a term, ended with it, and begun anew with the next."""

import asyncio

import pytest
from structlog.testing import capture_logs

from incident_operator.api.incident import Phase
from incident_operator.api.meta import ObjectKey
from incident_operator.engine.executor import InFlight
from incident_operator.engine.leader_election import LeaderCallbacks
from tests.engine.fake_cluster import INCIDENT, FakeCluster


def losing(fake_cluster: FakeCluster, after: int) -> None:
    """Let the process lose the Lease after it has asked for it so many times: it was halted there."""
    asked = 0

    def leads() -> bool:
        nonlocal asked
        asked += 1
        return asked <= after

    fake_cluster.leads = leads


async def asked_until_the_act(fake_cluster: FakeCluster) -> int:
    """How often a process asks whether it leads, up to and with the question right before the first act."""
    count = 0

    def leads() -> bool:
        nonlocal count
        if not fake_cluster.targets.done():
            count += 1
        return True

    fake_cluster.leads = leads
    await fake_cluster.engine().reconcile(INCIDENT)
    assert fake_cluster.targets.done() == ["serve"]
    return count


@pytest.mark.parametrize(("before_the_act", "written"), [(1, ["Running"]), (2, [])])
async def test_a_process_that_was_halted_past_its_lease_begins_no_act(
    pack: FakeCluster, spare: FakeCluster, before_the_act: int, written: list[str]
) -> None:
    losing(pack, after=await asked_until_the_act(spare) - before_the_act)
    await pack.engine().reconcile(INCIDENT)
    assert pack.targets.done() == []
    assert [call.step for call in pack.targets.calls if call.step == "serve"] == []
    assert [r.state.value for r in pack.incident().status.steps if r.name == "serve"] == written
    pack.leads = lambda: True
    await pack.engine().reconcile(INCIDENT)
    assert pack.targets.done() == ["serve"]


async def test_a_process_that_loses_the_lease_while_it_looks_at_what_it_would_do_stores_no_intent(
    pack: FakeCluster,
) -> None:
    shown: list[str] = []
    pack.targets.preview_of["serve"] = lambda: shown.append("serve")
    pack.leads = lambda: not shown
    await pack.engine().reconcile(INCIDENT)
    assert (shown, pack.targets.sent) == (["serve"], [])
    assert [r.state.value for r in pack.incident().status.steps if r.name == "serve"] == []


async def test_an_act_that_is_under_way_when_the_lease_is_lost_is_recorded(
    pack: FakeCluster, spare: FakeCluster
) -> None:
    losing(pack, after=await asked_until_the_act(spare))
    await pack.engine().reconcile(INCIDENT)
    assert (pack.targets.done(), pack.state("serve")) == (["serve"], "Succeeded")


async def test_what_was_begun_is_not_looked_up_by_a_process_that_leads_no_more(
    pack: FakeCluster, spare: FakeCluster
) -> None:
    losing(pack, after=await asked_until_the_act(spare) - 1)
    await pack.engine().reconcile(INCIDENT)
    losing(pack, after=1)
    await pack.engine().reconcile(INCIDENT)
    assert (pack.targets.done(), pack.state("serve")) == ([], "Running")


async def test_a_process_that_ends_waits_for_acts_and_for_nothing_else() -> None:
    in_flight = InFlight()
    await asyncio.wait_for(in_flight.idle(), 5)
    in_flight.enter(INCIDENT)
    in_flight.enter(ObjectKey("prod", "other"))
    in_flight.leave(INCIDENT)
    waiting = asyncio.create_task(in_flight.idle())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    in_flight.leave(ObjectKey("prod", "other"))
    await asyncio.wait_for(waiting, 5)


async def test_an_incident_is_in_flight_from_its_act_to_the_end_of_the_reconciliation(pack: FakeCluster) -> None:
    engine = pack.engine()
    seen = []
    done = pack.targets._done

    def spy(call):
        seen.append((call.step, pack.in_flight._idle.is_set()))
        return done(call)

    pack.targets._done = spy
    await engine.reconcile(INCIDENT)
    assert dict(seen)["serve"] is False
    assert seen[0][1] is True  # a read
    assert pack.in_flight._idle.is_set()


async def test_a_callback_runs_from_a_terms_begin_to_its_end_and_anew_in_the_next() -> None:
    leadership, told = LeaderCallbacks(), []

    async def callback() -> None:
        told.append("begins")
        try:
            await asyncio.sleep(3600)
        finally:
            told.append("ends")

    leadership.callbacks.append(callback)
    for _ in range(2):
        leadership.begin()
        await asyncio.sleep(0.01)
        leadership.end()
        await asyncio.sleep(0.01)
    assert told == ["begins", "ends"] * 2


async def test_a_callback_that_fails_is_told_of_and_begun_again() -> None:
    leadership, failures = LeaderCallbacks(pause=0.0), [ValueError("a defect"), None]
    done = asyncio.Event()

    async def callback() -> None:
        if (error := failures.pop(0)) is not None:
            raise error
        done.set()

    leadership.callbacks.append(callback)
    with capture_logs() as logs:
        leadership.begin()
        await asyncio.wait_for(done.wait(), 5)
    assert [line["log_level"] for line in logs] == ["error"]


async def test_a_process_that_leads_no_more_tells_nothing_where_it_has_begun_nothing(pack: FakeCluster) -> None:
    await pack.engine().reconcile(INCIDENT)
    await pack.background.drain()
    await pack.resolve_alert()
    before = len(pack.api.writes)
    pack.leads = lambda: False
    assert await pack.engine().reconcile(INCIDENT) is None
    assert len(pack.api.writes) == before
    pack.leads = lambda: True
    await pack.engine().reconcile(INCIDENT)
    assert pack.incident().status.phase is Phase.RESOLVED
