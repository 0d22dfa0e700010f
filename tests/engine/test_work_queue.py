"""The work queue: a reconciliation that fails is repeated with growing pauses, and nothing that was asked for gets lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from incident_operator.api.meta import ObjectKey, Severity
from incident_operator.engine.work_queue import WorkQueue
from incident_operator.engine.workers import Workers
from incident_operator.kubernetes import apiserver
from incident_operator.kubernetes.priority import Priority

NOW = datetime(2025, 10, 21, tzinfo=UTC)
A, B, C = ObjectKey("prod", "a"), ObjectKey("prod", "b"), ObjectKey("prod", "c")
Reconcile = Callable[[ObjectKey], Awaitable[datetime | None]]


@asynccontextmanager
async def working(reconcile: Reconcile, workers: int = 1) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(reconcile, lambda: NOW, Workers(size=workers))
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def pause(queue: WorkQueue, key: ObjectKey) -> float | None:
    at = queue._delayed._at.get(key)
    return (at - NOW).total_seconds() if at else None


@pytest.mark.parametrize(
    "error",
    [
        apiserver.Unavailable(503, "Down", "later", maybe_applied=False),
        ValueError("a defect"),
        asyncio.CancelledError(),
    ],
    ids=["apiserver away", "a defect", "a cancellation that leaked"],
)
async def test_a_reconciliation_that_fails_is_repeated_with_growing_pauses_up_to_a_minute(error: BaseException) -> None:
    async def fails(_: ObjectKey) -> None:
        raise error

    async with working(fails) as queue:
        pauses = []
        for _ in range(9):
            queue.add(A)
            await settle()
            pauses.append(pause(queue, A))
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


async def test_one_that_fails_does_not_keep_others_from_being_reconciled() -> None:
    seen = []

    async def reconcile(key: ObjectKey) -> None:
        if key == A:
            raise asyncio.CancelledError
        seen.append(key)

    async with working(reconcile) as queue:
        queue.add(A)
        queue.add(B)
        await settle()
    assert seen == [B]


async def test_a_success_starts_the_pauses_anew() -> None:
    outcomes = [ValueError("1"), ValueError("2"), None, ValueError("3")]

    async def reconcile(_: ObjectKey) -> None:
        if (error := outcomes.pop(0)) is not None:
            raise error

    async with working(reconcile) as queue:
        for _ in range(4):
            queue.add(A)
            await settle()
        assert pause(queue, A) == 0.5


async def test_what_is_asked_for_during_a_reconciliation_outlives_its_own_later_moment() -> None:
    async def reconcile(key: ObjectKey) -> datetime:
        queue.add_later(key, 1.0)
        return NOW + timedelta(minutes=5)

    async with working(reconcile) as queue:
        queue.add(A)
        await settle()
        assert pause(queue, A) == 1.0


async def test_asking_again_and_again_does_not_put_a_reconciliation_off() -> None:
    async with working(lambda _: asyncio.sleep(0)) as queue:
        queue.add_later(A, 1.0)
        queue.add_later(A, 10.0)
        assert pause(queue, A) == 1.0


async def test_waking_without_a_severity_keeps_the_one_that_is_known() -> None:
    seen: list[ObjectKey] = []

    async def reconcile(key: ObjectKey) -> None:
        seen.append(key)

    async with working(reconcile) as queue:
        queue.add(B, "P0")
        await settle()
        queue.add(A, "P3")
        queue.add(B)
        await settle()
    assert seen == [B, B, A]


async def test_a_paused_queue_reconciles_nothing_and_resumes_with_all_that_it_was_asked_for_severest_first() -> None:
    seen: list[ObjectKey] = []

    async def reconcile(key: ObjectKey) -> datetime:
        seen.append(key)
        return NOW + timedelta(minutes=5)

    async with working(reconcile) as queue:
        queue.pause()
        queue.add(A, "P3")
        queue.add(B, "P0")
        queue.add_later(C, 1.0)
        await settle()
        assert (seen, queue.depth, pause(queue, C)) == ([], 0, None)
        queue.resume()
        await settle()
        assert seen == [B, A, C]
        queue.pause()
        await settle()
        assert pause(queue, A) is None
        queue.resume()
        await settle()
        assert seen == [B, A, C] * 2


async def test_a_reconciliation_under_way_goes_on_to_its_end_and_is_never_beside_a_second_one() -> None:
    goes_on, seen = asyncio.Event(), []

    async def reconcile(key: ObjectKey) -> datetime:
        seen.append("begins")
        await goes_on.wait()
        seen.append("ends")
        return NOW + timedelta(minutes=5)

    async with working(reconcile, workers=2) as queue:
        queue.add(A, "P1")
        await settle()
        queue.pause()
        queue.resume()
        await settle()
        assert seen == ["begins"]
        queue.pause()
        goes_on.set()
        await settle()
        assert (seen, pause(queue, A), queue.depth) == (["begins", "ends"], None, 0)


async def test_one_that_is_told_to_end_does_so_in_the_middle_of_a_reconciliation() -> None:
    begun = asyncio.Event()

    async def reconcile(_: ObjectKey) -> None:
        begun.set()
        await asyncio.Event().wait()

    queue = WorkQueue(reconcile, lambda: NOW)
    running = asyncio.create_task(queue.run())
    queue.add(A)
    await begun.wait()
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=5)
    assert (done, pause(queue, A)) == ({running}, None)


async def test_nothing_is_remembered_of_a_key_that_is_gone() -> None:
    async def fails(_: ObjectKey) -> None:
        raise ValueError("a defect")

    async with working(fails) as queue:
        queue.add(A, "P1")
        await settle()
        queue.forget(A)
        assert (queue._flows, queue._failures, pause(queue, A)) == ({}, {}, None)


async def test_an_incident_goes_no_further_ahead_than_its_namespace_may() -> None:
    order: list[str] = []

    async def reconcile(key: ObjectKey) -> None:
        order.append(key.namespace)

    queue = WorkQueue(reconcile, lambda: NOW, Workers(Priority({"eve": Severity.P3}), 1))
    for namespace, severity in [("eve", "P0"), ("prod", "P2"), ("shop", "P1")]:
        queue.add(ObjectKey(namespace, "a"), severity)
    task = asyncio.create_task(queue.run())
    await settle()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert order == ["shop", "prod", "eve"]


@pytest.mark.parametrize(("severity", "holds"), [("P0", True), ("P1", True), ("P2", False), ("", False)])
async def test_the_reconciliation_of_what_is_urgent_holds_the_priority(severity: str, holds: bool) -> None:
    priority, go = Priority(), asyncio.Event()

    async def reconcile(_: ObjectKey) -> None:
        await go.wait()

    queue = WorkQueue(reconcile, lambda: NOW, Workers(priority, 1))
    task = asyncio.create_task(queue.run())
    queue.add(A, severity)
    await settle()
    assert priority.is_held is holds
    go.set()
    await settle()
    assert not priority.is_held
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
