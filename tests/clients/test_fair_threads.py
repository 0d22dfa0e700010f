"""Threads that namespaces share: what hangs in one namespace's leaves some to others, the loop's own threads among them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from incident_operator.kubernetes.fair_shares import FLOW, FairThreads, Flow

SIZE = 4


class Hanging:
    """Work that blocks its thread until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.threads: set[str] = set()

    def __call__(self) -> str:
        self.threads.add(threading.current_thread().name)
        self.go.wait(30)
        return "let go"


@asynccontextmanager
async def loops_own() -> AsyncIterator[tuple[FairThreads, Hanging]]:
    """The loop with fair threads for whatever it has done in one."""
    threads, hanging = FairThreads(SIZE, "shared"), Hanging()
    asyncio.get_running_loop().set_default_executor(threads)
    try:
        yield threads, hanging
    finally:
        hanging.go.set()


def done_for(namespace: str, work: Callable[[], object]) -> "asyncio.Task[object]":
    async def run() -> object:
        FLOW.set(Flow(namespace, 2))
        return await asyncio.to_thread(work)

    return asyncio.create_task(run())


async def eventually(met: Callable[[], bool]) -> None:
    for _ in range(1000):
        if met():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never came true")


async def test_what_hangs_in_all_threads_of_the_loop_leaves_some_to_others_and_to_the_operator_itself() -> None:
    async with loops_own() as (_, hanging):
        eve = [done_for("eve", hanging) for _ in range(3 * SIZE)]
        await eventually(lambda: len(hanging.threads) == SIZE)
        for _ in range(SIZE):
            assert await asyncio.wait_for(done_for("prod", lambda: "answered"), 10) == "answered"
        found = await asyncio.wait_for(asyncio.get_running_loop().getaddrinfo("localhost", 80), 10)
        assert found
        hanging.go.set()
        assert await asyncio.gather(*eve) == ["let go"] * 3 * SIZE


async def test_a_thread_that_goes_on_though_nobody_waits_for_it_counts_until_it_is_done() -> None:
    async with loops_own() as (threads, hanging):
        for each in [done_for("eve", hanging) for _ in range(SIZE)]:
            await eventually(lambda: bool(hanging.threads))
            each.cancel()
        await asyncio.sleep(0.05)
        late = done_for("eve", lambda: "late")
        await asyncio.sleep(0.05)
        assert (threads._seats.used, late.done()) == (SIZE, False)
        hanging.go.set()
        assert await asyncio.wait_for(late, 10) == "late"


async def test_what_was_given_up_before_its_turn_is_never_begun() -> None:
    async with loops_own() as (threads, hanging):
        busy = [done_for("eve", hanging) for _ in range(SIZE)]
        await eventually(lambda: len(hanging.threads) == SIZE)
        begun: list[str] = []
        given_up, wanted = (done_for("eve", lambda name=name: begun.append(name)) for name in ("given up", "wanted"))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.sleep(0)
        hanging.go.set()
        await asyncio.gather(*busy, wanted)
        assert begun == ["wanted"]
        await eventually(lambda: threads._seats.used == 0)


async def test_an_error_is_handed_on() -> None:
    def fails() -> None:
        raise ValueError("a defect")

    async with loops_own():
        with pytest.raises(ValueError, match="a defect"):
            await done_for("prod", fails)


async def test_nothing_is_begun_in_threads_that_are_closed() -> None:
    threads = FairThreads(SIZE, "shared")
    threads.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        await asyncio.get_running_loop().run_in_executor(threads, print)
    assert threads._seats.used == 0
