"""Closed Incidents are not watched: what a receiver does not know of them, it reads before it would matter."""

import pytest

from incident_operator.kubernetes import discovery
from incident_operator.receiver.index import IncidentIndex
from tests.receiver.messages import alert
from tests.receiver.receiver_setup import Receivers, Replica
from tests.receiver.test_index import SERIES, IncidentSequence, incident

DAYS = [f"2025-10-0{day}T00:00:00Z" for day in range(1, 6)]


def open_one(receivers: Receivers) -> dict:
    return next(each for each in receivers.incidents() if "status" not in each)


async def stored(receivers: Receivers, *, last_is_open: bool = False) -> list[str]:
    """Store five Incidents of a group, one after another, and return their names."""
    for starts in DAYS:
        await receivers.one.take(alert(starts=starts))
        await receivers.one.watch()
        if not last_is_open or starts != DAYS[-1]:
            receivers.close(open_one(receivers), "Failed")
            await receivers.one.watch()
    return names(receivers)


def names(receivers: Receivers) -> list[str]:
    return [each["metadata"]["name"] for each in receivers.incidents()]


def restarted(receivers: Receivers) -> Replica:
    """A receiver that knows what the watch of open Incidents told it."""
    replica = receivers.another()
    for each in receivers.incidents():
        if "status" not in each:
            replica.incidents.note(each)
    return replica


@pytest.mark.parametrize("starts", DAYS)
@pytest.mark.parametrize("deleted", [[], ["2", "3"]], ids=["all are kept", "some were deleted by age"])
async def test_a_repeat_of_an_alert_whose_incident_closed_long_ago_opens_none(
    receivers: Receivers, starts: str, deleted: list[str]
) -> None:
    for name in await stored(receivers):
        if name.rpartition("-")[2] in deleted:
            receivers.api.remove(discovery.incidents("prod", name))
    its_own_is_kept = starts not in DAYS[1:3] or not deleted
    receipt = await restarted(receivers).take(alert(starts=starts))
    assert receipt.opened == (0 if its_own_is_kept else 1)


@pytest.mark.parametrize("starts", DAYS)
async def test_a_repeat_of_a_closed_ones_alert_does_not_enter_the_open_one(receivers: Receivers, starts: str) -> None:
    await stored(receivers, last_is_open=True)
    before = receivers.writes
    receipt = await restarted(receivers).take(alert(starts=starts))
    assert (receipt.opened, receipt.changed) == (0, 0)
    assert receivers.writes == before


async def test_an_alert_that_is_new_enters_the_open_one_after_one_read_of_the_group(receivers: Receivers) -> None:
    await stored(receivers, last_is_open=True)
    replica, reads = restarted(receivers), len(receivers.api.requests)
    for starts in ("2025-10-06T00:00:00Z", "2025-10-07T00:00:00Z"):
        assert (await replica.take(alert(starts=starts))).changed == 1
    assert [one.method for one in receivers.api.requests[reads:]] == ["GET", "GET", "PATCH", "GET", "PATCH"]


async def test_the_first_incident_of_a_group_costs_nothing_but_its_write(receivers: Receivers) -> None:
    await receivers.one.take(alert(starts=DAYS[0]))
    assert [one.method for one in receivers.api.requests] == ["POST"]


async def test_the_next_one_of_a_group_that_began_here_costs_nothing_but_its_write(receivers: Receivers) -> None:
    await receivers.one.take(alert(starts=DAYS[0]))
    receivers.close(open_one(receivers))
    await receivers.one.watch()
    sent = len(receivers.api.requests)
    assert (await receivers.one.take(alert(starts=DAYS[1]))).opened == 1
    assert [one.method for one in receivers.api.requests[sent:]] == ["POST"]


def sequence(number: int) -> IncidentSequence:
    return IncidentSequence("prod", f"pack-{number:05d}", f"{number:05d}" * 8)


def test_closed_incidents_are_forgotten_by_whole_series_the_oldest_first() -> None:
    index = IncidentIndex(closed_kept=4)
    for number in range(3):
        index.note(incident(1, phase="Resolved", sequence=sequence(number)))
        index.note(incident(2, phase="Resolved", sequence=sequence(number)))
        index.mark_complete(sequence(number))
    assert [len(index.episodes(sequence(number))) for number in range(3)] == [0, 2, 2]
    assert [index.is_complete(sequence(number)) for number in range(3)] == [False, True, True]


def test_an_open_incident_is_never_forgotten_for_others() -> None:
    index = IncidentIndex(closed_kept=1)
    index.note(incident(1, phase="Resolved", sequence=sequence(0)))
    index.note(incident(2, sequence=sequence(0)))
    for number in range(1, 5):
        index.note(incident(1, phase="Resolved", sequence=sequence(number)))
    assert [each.number for each in index.episodes(sequence(0))] == [2]
    assert not index.is_complete(sequence(0))


def test_a_deleted_closed_incident_no_longer_counts() -> None:
    index = IncidentIndex(closed_kept=2)
    for version in (10, 20):
        index.note(incident(1, phase="Resolved", version=version))
        index.forget(incident(1, version=version))
    index.note(incident(1, phase="Resolved", version=30))
    index.note(incident(1, phase="Resolved", sequence=sequence(1)))
    assert len(index.episodes(SERIES)) == 1


def test_all_groups_under_one_stem_are_complete_each_for_itself() -> None:
    index = IncidentIndex()
    index.mark_complete(SERIES)
    assert index.is_complete(SERIES)
    assert not index.is_complete(IncidentSequence(SERIES.namespace, SERIES.stem, "other"))


async def test_a_repeat_of_the_open_ones_alert_costs_a_restarted_receiver_no_request(receivers: Receivers) -> None:
    await stored(receivers, last_is_open=True)
    replica, before = restarted(receivers), len(receivers.api.requests)
    receipt = await replica.take(alert(starts=DAYS[-1]))
    assert (receipt.opened, receipt.changed, len(receivers.api.requests)) == (0, 0, before)
