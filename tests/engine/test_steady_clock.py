"""The process's clock goes on steadily, whatever happens to the machine's; it is moved forward by the apiserver's, and never back."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from incident_operator.engine.work_queue import SteadyClock
from incident_operator.kubernetes import apiserver, discovery
from tests.kubernetes.fake_apiserver import FakeApiserver

NOON = datetime(2025, 10, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Machine:
    """A machine whose clock anybody may set."""

    wall: datetime = NOON
    seconds: float = 1000.0

    def clock(self) -> SteadyClock:
        return SteadyClock(lambda: self.wall, lambda: self.seconds)

    def go(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.seconds += seconds


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 24 * HOUR, timedelta(seconds=-1)])
def test_a_machines_clock_that_jumps_changes_nothing(jump: timedelta) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.go(60)
    machine.wall += jump
    machine.go(30)
    assert clock() == NOON + timedelta(seconds=90)


@pytest.mark.parametrize(
    ("told", "then"),
    [
        ("Tue, 21 Oct 2025 13:00:00 GMT", NOON + HOUR),
        ("Tue, 21 Oct 2025 11:00:00 GMT", NOON),
        ("Tue, 21 Oct 2025 12:00:00 GMT", NOON),
        ("yesterday", NOON),
        ("", NOON),
        ("Tue, 21 Oct 99999 12:00:00 GMT", NOON),
    ],
    ids=["behind", "ahead", "right", "no date", "empty", "beyond the calendar"],
)
def test_a_clock_is_moved_forward_by_the_apiservers_and_never_back(told: str, then: datetime) -> None:
    machine = Machine()
    clock = machine.clock()
    clock.hear(told)
    assert clock() == then
    machine.go(10)
    assert clock() == then + timedelta(seconds=10)


DAY = 24 * HOUR


def dated(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@pytest.mark.parametrize(
    ("told", "moved"),
    [
        ([DAY], DAY),
        ([2 * DAY], timedelta()),
        ([2 * DAY, 2 * DAY], 2 * DAY),
        ([2 * DAY, timedelta(), 2 * DAY], timedelta()),
        ([2 * DAY, 5 * DAY], timedelta()),
        ([2 * DAY, 5 * DAY, 5 * DAY], 5 * DAY),
        ([3000 * DAY, 3000 * DAY], 3000 * DAY),
        ([36500 * DAY] * 5, timedelta()),
        ([3000 * DAY] * 2 + [6000 * DAY] * 3, 3000 * DAY),
    ],
    ids=[
        "a day",
        "once",
        "twice",
        "a right one between",
        "two that differ",
        "then two",
        "years",
        "a century",
        "again and again",
    ],
)
def test_an_answer_that_is_days_ahead_is_believed_once_a_second_one_says_the_same(told: list, moved: timedelta) -> None:
    machine = Machine()
    clock = machine.clock()
    for ahead in told:
        machine.go(10)
        clock.hear(dated(machine.wall + ahead))
    assert clock() == machine.wall + moved


@pytest.mark.parametrize(
    "told",
    ["Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -2300", "Tue, 21 Oct 2025 12:30:00 +99999999999"],
)
def test_no_date_breaks_the_clock(told: str) -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(3):
        clock.hear(told)
        machine.go(10)
    assert clock() == machine.wall


async def test_a_client_tells_the_date_of_an_answer_now_and_then() -> None:
    dates: list[str] = []
    async with FakeApiserver() as api, apiserver.Kube(api.access(), dated=dates.append) as client:
        for _ in range(3):
            with pytest.raises(apiserver.NotFound):
                await client.get(discovery.incidents("prod", "none"))
    clock = SteadyClock(lambda: NOON)
    clock.hear(dates[0])
    assert len(dates) == 1
    assert clock() > NOON, "the machine's own time of today is later than that"
