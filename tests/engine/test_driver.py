"""The driver: a visit that fails is repeated with growing pauses, and nothing that was asked for gets lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from incident_operator.clients import kube
from incident_operator.clients.right_of_way import RightOfWay
from incident_operator.engine.driver import Driver
from incident_operator.engine.keys import Key

NOW = datetime(2025, 10, 21, tzinfo=UTC)
A, B, C = Key("prod", "a"), Key("prod", "b"), Key("prod", "c")
Visit = Callable[[Key], Awaitable[datetime | None]]


@asynccontextmanager
async def driving(visit: Visit, workers: int = 1) -> AsyncIterator[Driver]:
    driver = Driver(visit, lambda: NOW, workers=workers)
    task = asyncio.create_task(driver.run())
    try:
        yield driver
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def pause(driver: Driver, key: Key) -> float | None:
    at = driver._deadlines._at.get(key)
    return (at - NOW).total_seconds() if at else None


@pytest.mark.parametrize(
    "error",
    [kube.Unavailable(503, "Down", "later", sent=False), ValueError("a defect"), asyncio.CancelledError()],
    ids=["apiserver away", "a defect", "a cancellation that leaked"],
)
async def test_a_visit_that_fails_is_repeated_with_growing_pauses_up_to_a_minute(error: BaseException) -> None:
    async def fails(_: Key) -> None:
        raise error

    async with driving(fails) as driver:
        pauses = []
        for _ in range(9):
            driver.add(A)
            await settle()
            pauses.append(pause(driver, A))
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


async def test_one_that_fails_does_not_keep_others_from_being_visited() -> None:
    seen = []

    async def visit(key: Key) -> None:
        if key == A:
            raise asyncio.CancelledError
        seen.append(key)

    async with driving(visit) as driver:
        driver.add(A)
        driver.add(B)
        await settle()
    assert seen == [B]


async def test_a_success_starts_the_pauses_anew() -> None:
    outcomes = [ValueError("1"), ValueError("2"), None, ValueError("3")]

    async def visit(_: Key) -> None:
        if (error := outcomes.pop(0)) is not None:
            raise error

    async with driving(visit) as driver:
        for _ in range(4):
            driver.add(A)
            await settle()
        assert pause(driver, A) == 0.5


async def test_what_is_asked_for_during_a_visit_outlives_the_visits_own_later_moment() -> None:
    async def visit(key: Key) -> datetime:
        driver.add_later(key, 1.0)
        return NOW + timedelta(minutes=5)

    async with driving(visit) as driver:
        driver.add(A)
        await settle()
        assert pause(driver, A) == 1.0


async def test_asking_again_and_again_does_not_put_a_visit_off() -> None:
    async with driving(lambda _: asyncio.sleep(0)) as driver:
        driver.add_later(A, 1.0)
        driver.add_later(A, 10.0)
        assert pause(driver, A) == 1.0


async def test_waking_without_a_severity_keeps_the_one_that_is_known() -> None:
    seen: list[Key] = []

    async def visit(key: Key) -> None:
        seen.append(key)

    async with driving(visit) as driver:
        driver.add(B, "P0")
        await settle()
        driver.add(A, "P3")
        driver.add(B)
        await settle()
    assert seen == [B, B, A]


async def test_one_that_rests_visits_nothing_and_starts_with_all_that_it_was_asked_for_severest_first() -> None:
    seen: list[Key] = []

    async def visit(key: Key) -> datetime:
        seen.append(key)
        return NOW + timedelta(minutes=5)

    async with driving(visit) as driver:
        driver.rest()
        driver.add(A, "P3")
        driver.add(B, "P0")
        driver.add_later(C, 1.0)
        await settle()
        assert (seen, driver.depth, pause(driver, C)) == ([], 0, None)
        driver.start()
        await settle()
        assert seen == [B, A, C]
        driver.rest()
        await settle()
        assert pause(driver, A) is None
        driver.start()
        await settle()
        assert seen == [B, A, C] * 2


async def test_a_visit_under_way_goes_on_to_its_end_and_is_never_beside_a_second_one() -> None:
    goes_on, seen = asyncio.Event(), []

    async def visit(key: Key) -> datetime:
        seen.append("begins")
        await goes_on.wait()
        seen.append("ends")
        return NOW + timedelta(minutes=5)

    async with driving(visit, workers=2) as driver:
        driver.add(A, "P1")
        await settle()
        driver.rest()
        driver.start()
        await settle()
        assert seen == ["begins"]
        driver.rest()
        goes_on.set()
        await settle()
        assert (seen, pause(driver, A), driver.depth) == (["begins", "ends"], None, 0)


async def test_one_that_is_told_to_end_does_so_in_the_middle_of_a_visit() -> None:
    begun = asyncio.Event()

    async def visit(_: Key) -> None:
        begun.set()
        await asyncio.Event().wait()

    driver = Driver(visit, lambda: NOW)
    running = asyncio.create_task(driver.run())
    driver.add(A)
    await begun.wait()
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=5)
    assert (done, pause(driver, A)) == ({running}, None)


async def test_nothing_is_remembered_of_a_key_that_is_gone() -> None:
    async def fails(_: Key) -> None:
        raise ValueError("a defect")

    async with driving(fails) as driver:
        driver.add(A, "P1")
        await settle()
        driver.forget(A)
        assert (driver._ranks, driver._failures, pause(driver, A)) == ({}, {}, None)


@pytest.mark.parametrize(("severity", "holds"), [("P0", True), ("P1", True), ("P2", False), ("", False)])
async def test_the_visit_of_what_is_severe_holds_the_right_of_way(severity: str, holds: bool) -> None:
    way, go = RightOfWay(), asyncio.Event()

    async def visit(_: Key) -> None:
        await go.wait()

    driver = Driver(visit, lambda: NOW, workers=1, way=way)
    task = asyncio.create_task(driver.run())
    driver.add(A, severity)
    await settle()
    assert way.is_held is holds
    go.set()
    await settle()
    assert not way.is_held
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
