"""Small work off the path ends before the process does, and its errors do not vanish."""

import asyncio

from structlog.testing import capture_logs

from incident_operator.engine.work_queue import Background
from incident_operator.kubernetes.priority import Priority


async def test_what_is_under_way_is_waited_for() -> None:
    done = asyncio.Event()
    background = Background(Priority())

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.set()

    background.start(work())
    await background.drain()
    assert done.is_set()


async def test_what_takes_too_long_is_cancelled_and_has_ended_when_the_wait_is_over() -> None:
    ended = asyncio.Event()
    background = Background(Priority())

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    background.start(work())
    await background.drain(seconds=0.01)
    assert ended.is_set()


async def test_an_error_is_logged() -> None:
    background = Background(Priority())

    async def fails() -> None:
        raise ValueError("a defect")

    with capture_logs() as logs:
        background.start(fails())
        await background.drain()
    assert [(one["event"], str(one["exc_info"])) for one in logs] == [("Work in the background failed", "a defect")]


async def test_where_nothing_was_started_nothing_is_waited_for() -> None:
    await Background(Priority()).drain()


async def test_nothing_is_begun_while_something_severe_has_the_priority() -> None:
    priority, begun = Priority(), asyncio.Event()
    background = Background(priority)

    async def work() -> None:
        begun.set()

    with priority.held(urgent=True):
        background.start(work())
        await asyncio.sleep(0.01)
        assert not begun.is_set()
    await asyncio.wait_for(begun.wait(), 1)


async def test_what_never_began_is_dropped_at_the_end_without_a_complaint() -> None:
    priority = Priority()
    background = Background(priority)

    async def work() -> None:
        raise AssertionError("it began")

    with priority.held(urgent=True):
        background.start(work())
        await background.drain(seconds=0.01)
