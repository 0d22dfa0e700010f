"""The Lease: one process holds it, the others take it when it is free or over, and nobody acts on an old one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from incident_operator.engine.leader_election import LeaderCallbacks, LeaderElector, LeaseConfig
from incident_operator.kubernetes import apiserver, discovery
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault

LEASE = discovery.leases("ops", "incident-operator")
SECONDS = 15


class Terms(LeaderCallbacks):
    """Notes begins and ends."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def begin(self) -> None:
        self.told.append("begin")

    def end(self) -> None:
        self.told.append("end")


class Machine:
    """A process on a machine of its own: a wall clock that is wrong, and a steady clock that the test moves."""

    def __init__(self, client: apiserver.Kube, name: str, skew: timedelta = timedelta()) -> None:
        self.terms, self.now, self._skew = Terms(), 1000.0, skew
        config = LeaseConfig("ops", "incident-operator", SECONDS, name)
        self.elector = LeaderElector(client, config, self._clock, self.terms, steady=lambda: self.now)

    def _clock(self) -> datetime:
        return datetime(2025, 10, 21, tzinfo=UTC) + timedelta(seconds=self.now) + self._skew

    async def turn(self, after: float = 0.0) -> bool:
        self.now += after
        await self.elector.turn()
        return self.elector.may_act()


@pytest.fixture
async def api() -> AsyncIterator[FakeApiserver]:
    async with FakeApiserver() as made:
        yield made


@pytest.fixture
async def client(api: FakeApiserver) -> AsyncIterator[apiserver.Kube]:
    async with apiserver.Kube(api.access()) as made:
        yield made


@pytest.fixture
def two(client: apiserver.Kube) -> tuple[Machine, Machine]:
    return Machine(client, "one", timedelta(minutes=-5)), Machine(client, "two", timedelta(minutes=5))


def spec(api: FakeApiserver) -> dict[str, Any]:
    found: dict[str, Any] = api.object(LEASE)["spec"]
    return found


def annotate(api: FakeApiserver) -> Callable[[], object]:
    return lambda: api.put({**api.object(LEASE), "metadata": {**api.object(LEASE)["metadata"], "labels": {"a": "b"}}})


async def test_the_first_leads_and_the_second_waits(api: FakeApiserver, two: tuple[Machine, Machine]) -> None:
    assert [await one.turn() for one in two] == [True, False]
    assert spec(api) == {
        "holderIdentity": "one",
        "leaseDurationSeconds": 15,
        "acquireTime": "2025-10-21T00:11:40.000000Z",
        "renewTime": "2025-10-21T00:11:40.000000Z",
        "leaseTransitions": 0,
    }


async def test_a_holder_that_renews_goes_on_and_the_first_time_stays(
    api: FakeApiserver, two: tuple[Machine, Machine]
) -> None:
    for _ in range(10):
        assert [await one.turn(after=3) for one in two] == [True, False]
    assert (spec(api)["acquireTime"], spec(api)["renewTime"]) == (
        "2025-10-21T00:11:43.000000Z",
        "2025-10-21T00:12:10.000000Z",
    )
    assert two[0].terms.told == ["begin"]
    assert len(api.writes) == 10


async def test_one_that_is_heard_no_more_is_followed_after_its_duration_whatever_the_clocks_say(
    api: FakeApiserver, two: tuple[Machine, Machine]
) -> None:
    one, other = two
    await one.turn()
    await other.turn()
    assert [await other.turn(after=14.9), await other.turn(after=0.1)] == [False, True]
    assert (spec(api)["holderIdentity"], spec(api)["leaseTransitions"]) == ("two", 1)
    assert other.elector.led_for() == timedelta()


async def test_a_process_that_was_halted_may_not_act_on_its_old_lease(two: tuple[Machine, Machine]) -> None:
    one, _ = two
    await one.turn()
    one.now += 9.9
    assert one.elector.may_act()
    one.now += 0.1
    assert not one.elector.may_act()


async def test_a_process_that_was_halted_learns_that_another_leads(two: tuple[Machine, Machine]) -> None:
    one, other = two
    await one.turn()
    await other.turn()
    await other.turn(after=15)
    assert not await one.turn(after=16)
    assert one.terms.told == ["begin", "end"]


async def test_an_answer_that_comes_late_counts_from_when_it_was_asked_for(
    api: FakeApiserver, two: tuple[Machine, Machine]
) -> None:
    one, _ = two

    def slowly() -> None:
        one.now += 11

    api.interleave(slowly, method="POST")
    assert not await one.turn()
    assert one.terms.told == []


async def test_a_renewal_that_comes_after_a_time_in_which_nothing_could_be_begun_begins_a_new_term(
    api: FakeApiserver, two: tuple[Machine, Machine]
) -> None:
    one, _ = two
    await one.turn()

    def slowly() -> None:
        one.now += 3

    api.interleave(slowly, method="PATCH")
    assert await one.turn(after=8)  # asked for after 8 s of 10, answered after 11
    assert one.terms.told == ["begin", "end", "begin"]


async def test_one_that_nobody_followed_begins_a_new_term_and_has_been_alone_since_the_first(
    two: tuple[Machine, Machine],
) -> None:
    one, _ = two
    await one.turn()
    assert await one.turn(after=60)
    assert one.terms.told == ["begin", "end", "begin"]
    assert one.elector.led_for() == timedelta(seconds=60)


@pytest.mark.parametrize("fault", [Fault.SERVICE_UNAVAILABLE, Fault.REPLY_LOST, Fault.DROPPED, Fault.TOO_MANY_REQUESTS])
async def test_a_passing_trouble_of_the_apiserver_does_no_harm(
    api: FakeApiserver, two: tuple[Machine, Machine], fault: Fault
) -> None:
    one, _ = two
    await one.turn()
    api.inject(fault, method="PATCH", times=2)
    assert [await one.turn(after=3) for _ in range(3)] == [True] * 3
    assert one.terms.told == ["begin"]


async def test_somebody_who_edits_the_lease_takes_nothing_away(
    api: FakeApiserver, two: tuple[Machine, Machine]
) -> None:
    one, _ = two
    await one.turn()
    api.interleave(annotate(api), method="PATCH")
    assert await one.turn(after=3)
    assert api.object(LEASE)["metadata"]["labels"] == {"a": "b"}


async def test_a_lease_that_was_deleted_is_made_anew(api: FakeApiserver, two: tuple[Machine, Machine]) -> None:
    one, _ = two
    await one.turn()
    api.remove(LEASE)
    assert await one.turn(after=3)
    assert spec(api)["holderIdentity"] == "one"


async def test_of_two_that_come_at_once_one_leads(api: FakeApiserver, two: tuple[Machine, Machine]) -> None:
    assert sorted(await asyncio.gather(*(one.turn() for one in two))) == [False, True]


async def test_a_lease_given_back_is_taken_at_the_next_look(api: FakeApiserver, two: tuple[Machine, Machine]) -> None:
    one, other = two
    await one.turn()
    await other.turn()
    await one.elector.release()
    assert not one.elector.may_act()
    assert one.terms.told == ["begin", "end"]
    assert await other.turn(after=0.5)
    assert (spec(api)["holderIdentity"], spec(api)["leaseTransitions"]) == ("two", 1)


async def test_a_renewal_under_way_does_not_keep_the_lease_from_being_given_back(
    api: FakeApiserver, two: tuple[Machine, Machine]
) -> None:
    one, _ = two
    await one.turn()
    running = asyncio.create_task(one.elector.run())
    await asyncio.sleep(0)
    await one.elector.release()
    assert spec(api)["holderIdentity"] == ""
    assert not one.elector.may_act()
    await asyncio.wait_for(running, 10)
    assert spec(api)["holderIdentity"] == ""


async def test_a_version_that_moved_does_not_keep_the_lease_from_being_given_back(
    api: FakeApiserver, two: tuple[Machine, Machine]
) -> None:
    one, _ = two
    await one.turn()
    annotate(api)()
    await one.elector.release()
    assert spec(api)["holderIdentity"] == ""


async def test_nobody_gives_back_what_another_holds(api: FakeApiserver, two: tuple[Machine, Machine]) -> None:
    one, other = two
    await one.turn()
    await other.turn()
    await other.turn(after=15)
    await one.elector.release()
    assert spec(api)["holderIdentity"] == "two"


async def test_one_that_waits_costs_reads_from_the_cache_and_no_write(
    api: FakeApiserver, two: tuple[Machine, Machine]
) -> None:
    one, other = two
    await one.turn()
    before = len(api.requests)
    pauses = [await other.elector.turn() for _ in range(20)]
    assert {(asked.method, asked.path, asked.params["resourceVersion"]) for asked in api.requests[before:]} == {
        ("GET", LEASE, "0")
    }
    assert (len(api.requests) - before, set(pauses)) == (20, {0.5})


async def test_what_it_may_not_read_is_told_once_and_nothing_is_acted_on(
    api: FakeApiserver, two: tuple[Machine, Machine]
) -> None:
    one, _ = two
    api.forbid("", "get", "leases.coordination.k8s.io")
    with capture_logs() as logs:
        assert [await one.turn() for _ in range(3)] == [False] * 3
    assert [line["log_level"] for line in logs] == ["warning"]
    assert "leases" in logs[0]["error"]


async def test_one_that_another_followed_has_been_alone_only_since_then(two: tuple[Machine, Machine]) -> None:
    one, other = two
    await one.turn()
    await other.turn()
    assert await other.turn(after=SECONDS)
    assert not await one.turn(after=SECONDS)
    assert await one.turn(after=SECONDS)
    assert one.elector.led_for() == timedelta(), "the other may be in the middle of an act"


async def test_one_whose_term_is_over_has_not_led_at_all(api: FakeApiserver, two: tuple[Machine, Machine]) -> None:
    one, _ = two
    assert one.elector.led_for() == timedelta()
    await one.turn()
    api.inject(Fault.SERVICE_UNAVAILABLE, method="PATCH", times=9)
    assert not await one.turn(after=SECONDS)
    assert one.elector.led_for() == timedelta()


async def test_one_that_finds_its_lease_taken_away_has_not_been_alone(
    api: FakeApiserver, two: tuple[Machine, Machine]
) -> None:
    one, _ = two
    await one.turn()
    seen: list[timedelta] = []

    def taken_away() -> None:
        api.put({**api.object(LEASE), "spec": {**spec(api), "holderIdentity": ""}})
        api.interleave(lambda: seen.append(one.elector.led_for()), method="PATCH")

    api.interleave(taken_away, method="PATCH")
    assert await one.turn(after=3)
    assert seen == [timedelta()]


async def test_one_that_never_looked_gives_nothing_back(api: FakeApiserver, two: tuple[Machine, Machine]) -> None:
    one, _ = two
    await one.elector.release()
    assert api.requests == []
