"""Who may write next."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from incident_operator.api.meta import Severity
from incident_operator.clients.priority import MAX_WRITES, Priority
from incident_operator.receiver.slots import PrioritySlots

P0, P1, P2, P3 = Severity.P0, Severity.P1, Severity.P2, Severity.P3


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Writers:
    """Tasks that want a place and hold it until they are told to end."""

    def __init__(self, slots: PrioritySlots) -> None:
        self.slots = slots
        self.began: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.ends: dict[str, asyncio.Event] = {}

    async def start(self, name: str, severity: Severity) -> None:
        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._write(name, severity))
        await settle()

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.tasks[name]
        await settle()

    async def _write(self, name: str, severity: Severity) -> None:
        async with self.slots.taken(severity):
            self.began.append(name)
            await self.ends[name].wait()


async def full(size: int) -> Writers:
    writers = Writers(PrioritySlots(size, Priority()))
    for number in range(size - size // 5):
        await writers.start(f"mild {number}", P3)
    return writers


async def test_the_severest_is_next_and_equals_go_in_the_order_in_which_they_came():
    writers = await full(1)
    for name, severity in [("a", P3), ("b", P2), ("d", P2), ("e", P1), ("c", P0)]:
        await writers.start(name, severity)
    assert writers.slots.waiting == 5
    for name in ["mild 0", "c", "e", "b", "d", "a"]:
        await writers.end(name)
    assert writers.began == ["mild 0", "c", "e", "b", "d", "a"]
    assert writers.slots.waiting == 0


@pytest.mark.parametrize(("severity", "begins"), [(P0, True), (P1, True), (P2, False), (P3, False)])
async def test_some_places_are_kept_for_the_severest(severity, begins):
    writers = await full(10)
    assert len(writers.began) == 8
    await writers.start("one", severity)
    assert ("one" in writers.began) is begins
    await writers.start("two", P0)
    assert "two" in writers.began


async def test_of_the_places_that_the_operator_has_one_is_kept():
    writers = await full(MAX_WRITES)
    assert len(writers.began) == MAX_WRITES - 1
    await writers.start("mild", P3)
    assert "mild" not in writers.began
    await writers.start("severe", P1)
    assert "severe" in writers.began


async def test_a_kept_place_that_is_given_back_is_kept_again():
    writers = await full(8)
    await writers.start("severe", P0)
    await writers.start("mild", P3)
    await writers.end("severe")
    assert "mild" not in writers.began
    await writers.end("mild 0")
    assert "mild" in writers.began


@pytest.mark.parametrize("handed", [False, True])
async def test_who_gives_up_waiting_loses_nobody_a_place(handed):
    writers = await full(1)
    await writers.start("gives up", P0)
    await writers.start("next", P3)
    if handed:
        writers.ends["mild 0"].set()
        await asyncio.sleep(0)
    writers.tasks["gives up"].cancel()
    await settle()
    if not handed:
        await writers.end("mild 0")
    assert writers.began == ["mild 0", "next"]
    assert writers.slots.waiting == 0


async def test_never_more_than_so_many_write_at_a_time():
    slots = PrioritySlots(8, Priority())
    at_once = most = 0

    async def write(severity: Severity) -> None:
        nonlocal at_once, most
        async with slots.taken(severity):
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1

    await asyncio.gather(*(write(severity) for severity in [P3, P0, P2, P1] * 25))
    assert most == 8
    async with AsyncExitStack() as held:
        for _ in range(8):
            await held.enter_async_context(slots.taken(P0))


async def test_nothing_mild_is_written_while_somebody_severe_has_the_priority():
    priority = Priority()
    writers = Writers(PrioritySlots(8, priority))
    with priority.held(severe=True):
        await writers.start("mild", P2)
        await writers.start("severe", P1)
        assert writers.began == ["severe"]
    await settle()
    assert "mild" not in writers.began, "the severe write holds it now"
    await writers.end("severe")
    assert writers.began == ["severe", "mild"]
    await writers.end("mild")
