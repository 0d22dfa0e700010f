"""The workers: severest first, never the same key twice at once, nothing forgotten."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from incident_operator.api.meta import ObjectKey
from incident_operator.engine import workers as workers_module
from incident_operator.engine.workers import Workers

A, B, C, D, E = (ObjectKey("prod", name) for name in "abcde")


@asynccontextmanager
async def running(
    work: Callable[[ObjectKey], Awaitable[None]], size: int, must_yield: Callable[[], bool] = lambda: False
) -> AsyncIterator[Workers]:
    workers = Workers(work, size, must_yield)
    task = asyncio.create_task(workers.run())
    try:
        yield workers
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Held:
    """Work that lasts until it is let go."""

    def __init__(self) -> None:
        self.begun: list[ObjectKey] = []
        self.at_once = 0
        self.most_at_once = 0
        self.go = asyncio.Semaphore(0)

    async def __call__(self, key: ObjectKey) -> None:
        self.begun.append(key)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.go.acquire()
        self.at_once -= 1


async def test_the_severest_is_worked_on_first_and_equals_in_order_of_arrival() -> None:
    work = Held()
    async with running(work, 1) as workers:
        for key, rank in ((A, 3), (B, 0), (C, 3)):
            workers.add(key, rank)
        for _ in range(3):
            work.go.release()
            await settle()
    assert work.begun == [B, A, C]


async def test_a_key_is_never_worked_on_twice_at_once() -> None:
    work = Held()
    async with running(work, 4) as workers:
        for _ in range(5):
            workers.add(A, 1)
            await settle()
        assert (work.begun, work.most_at_once) == ([A], 1)


async def test_a_key_that_is_added_while_it_is_worked_on_is_worked_on_once_more() -> None:
    work = Held()
    async with running(work, 4) as workers:
        workers.add(A, 1)
        await settle()
        workers.add(A, 1)
        workers.add(A, 0)
        for _ in range(3):
            work.go.release()
            await settle()
    assert work.begun == [A, A]


async def test_a_key_that_waits_already_is_worked_on_once() -> None:
    work = Held()
    async with running(work, 1) as workers:
        for key in (A, B, B):
            workers.add(key, 1)
        for _ in range(3):
            work.go.release()
            await settle()
    assert work.begun == [A, B]


async def test_what_was_dropped_is_not_worked_on_and_what_comes_after_it_is() -> None:
    work = Held()
    async with running(work, 1) as workers:
        workers.add(A, 1)
        workers.clear()
        await settle()
        workers.add(B, 1)
        await settle()
    assert work.begun == [B]


@asynccontextmanager
async def full() -> AsyncIterator[tuple[Held, Workers]]:
    """Two workers in the middle of something, and a third key that waits."""
    work = Held()
    async with running(work, 2) as workers:
        for key in (A, B, C):
            workers.add(key, 2)
        await settle()
        yield work, workers


async def test_no_more_are_worked_on_at_once_than_there_are_workers() -> None:
    async with full() as (work, workers):
        assert (work.at_once, workers.depth) == (2, 1)


async def test_what_is_urgent_finds_a_worker_though_all_others_are_in_the_middle_of_something() -> None:
    async with full() as (work, workers):
        workers.add(D, 1)
        await settle()
        assert work.begun == [A, B, D]
        workers.add(E, 1)
        await settle()
        assert workers.depth == 2, "the one that was kept back is in use"
        for _ in range(3):
            work.go.release()
            await settle()
        assert sorted(work.begun) == [A, B, C, D, E]
        assert work.begun.index(E) == 3


async def test_it_is_idle_only_when_nothing_is_in_the_middle_of_something() -> None:
    work = Held()
    async with running(work, 2) as workers:
        workers.add(A, 1)
        await settle()
        idle = asyncio.create_task(workers.idle())
        await settle()
        assert not idle.done()
        work.go.release()
        await idle


async def test_work_that_was_done_meanwhile_is_not_repeated_unless_somebody_insists() -> None:
    for insists, times in ((False, 1), (True, 2)):
        work = Held()
        async with running(work, 1) as workers:
            workers.add(A, 1)
            await settle()
            workers.add(A, 1, lambda: True)
            if insists:
                workers.add(A, 1)
            workers.add(A, 1, lambda: False)
            for _ in range(3):
                work.go.release()
                await settle()
        assert work.begun == [A] * times


async def test_work_that_is_still_wanted_at_the_end_is_repeated() -> None:
    work = Held()
    async with running(work, 1) as workers:
        workers.add(A, 1)
        await settle()
        workers.add(A, 1, lambda: True)
        for _ in range(3):
            work.go.release()
            await settle()
    assert work.begun == [A, A]


async def eventually(met: Callable[[], bool]) -> None:
    for _ in range(400):
        if met():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never came true")


@pytest.mark.parametrize(("rank", "goes_on"), [(0, True), (1, True), (2, False), (4, False)])
async def test_what_is_not_severe_gives_way_and_what_is_severe_does_not(rank: int, goes_on: bool) -> None:
    work, busy = Held(), True
    async with running(work, 1, lambda: busy) as workers:
        workers.add(A, rank)
        await settle()
        assert (work.begun == [A]) is goes_on
        busy = False
        await eventually(lambda: work.begun == [A])


async def test_what_is_severe_passes_what_gives_way_though_no_other_worker_is_free() -> None:
    work = Held()
    async with running(work, 2, lambda: True) as workers:
        workers.add(A, 3)
        workers.add(B, 3)
        await settle()
        workers.add(C, 0)
        await settle()
        assert work.begun == [C]


async def test_nothing_yields_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "_LONGEST_YIELD", 0.2)
    work = Held()
    async with running(work, 1, lambda: True) as workers:
        for key in (A, B):
            workers.add(key, 3)
            work.go.release()
        await eventually(lambda: work.begun == [A, B])
