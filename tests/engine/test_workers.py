"""The workers: severest first, then round the namespaces, never the same key twice at once, nothing forgotten."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from incident_operator.api.meta import ObjectKey
from incident_operator.engine.workers import Workers
from incident_operator.kubernetes import priority as figures
from incident_operator.kubernetes.fair_shares import FLOW, Flow
from incident_operator.kubernetes.priority import VISITS, WORKERS, Priority, kept_of

A, B, C, D, E = (ObjectKey("prod", name) for name in "abcde")
P0, P1, P2, P3 = range(4)


@asynccontextmanager
async def running(
    work: Callable[[ObjectKey], Awaitable[None]],
    size: int,
    must_yield: Callable[[], bool] = lambda: False,
    longest: float = figures.LONGEST,
) -> AsyncIterator[Workers]:
    workers = Workers(Priority(longest=longest), size, must_yield)
    task = asyncio.create_task(workers.run(work))
    try:
        yield workers
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def of(key: ObjectKey, level: int) -> Flow:
    return Flow(key.namespace, level)


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
            workers.add(key, of(key, rank))
        for _ in range(3):
            work.go.release()
            await settle()
    assert work.begun == [B, A, C]


async def test_a_key_is_never_worked_on_twice_at_once() -> None:
    work = Held()
    async with running(work, 4) as workers:
        for _ in range(5):
            workers.add(A, of(A, 1))
            await settle()
        assert (work.begun, work.most_at_once) == ([A], 1)


async def test_a_key_that_is_added_while_it_is_worked_on_is_worked_on_once_more() -> None:
    work = Held()
    async with running(work, 4) as workers:
        workers.add(A, of(A, 1))
        await settle()
        workers.add(A, of(A, 1))
        workers.add(A, of(A, 0))
        for _ in range(3):
            work.go.release()
            await settle()
    assert work.begun == [A, A]


async def test_a_key_that_waits_already_is_worked_on_once() -> None:
    work = Held()
    async with running(work, 1) as workers:
        for key in (A, B, B):
            workers.add(key, of(key, 1))
        for _ in range(3):
            work.go.release()
            await settle()
    assert work.begun == [A, B]


async def test_what_was_dropped_is_not_worked_on_and_what_comes_after_it_is() -> None:
    work = Held()
    async with running(work, 1) as workers:
        workers.add(A, of(A, 1))
        workers.clear()
        await settle()
        workers.add(B, of(B, 1))
        await settle()
    assert work.begun == [B]


@asynccontextmanager
async def full() -> AsyncIterator[tuple[Held, Workers]]:
    """Two workers in the middle of something, and a third key that waits."""
    work = Held()
    async with running(work, 2) as workers:
        for key in (A, B, C):
            workers.add(key, of(key, 2))
        await settle()
        yield work, workers


async def test_no_more_are_worked_on_at_once_than_there_are_workers() -> None:
    async with full() as (work, workers):
        assert (work.at_once, workers.depth) == (2, 1)


async def test_what_is_urgent_finds_a_worker_though_all_others_are_in_the_middle_of_something() -> None:
    async with full() as (work, workers):
        workers.add(D, of(D, 1))
        await settle()
        assert work.begun == [A, B, D]
        workers.add(E, of(E, 1))
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
        workers.add(A, of(A, 1))
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
            workers.add(A, of(A, 1))
            await settle()
            workers.add(A, of(A, 1), lambda: True)
            if insists:
                workers.add(A, of(A, 1))
            workers.add(A, of(A, 1), lambda: False)
            for _ in range(3):
                work.go.release()
                await settle()
        assert work.begun == [A] * times


async def test_work_that_is_still_wanted_at_the_end_is_repeated() -> None:
    work = Held()
    async with running(work, 1) as workers:
        workers.add(A, of(A, 1))
        await settle()
        workers.add(A, of(A, 1), lambda: True)
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
        workers.add(A, of(A, rank))
        await settle()
        assert (work.begun == [A]) is goes_on
        busy = False
        await eventually(lambda: work.begun == [A])


async def test_what_is_severe_passes_what_gives_way_though_no_other_worker_is_free() -> None:
    work = Held()
    async with running(work, 2, lambda: True) as workers:
        workers.add(A, of(A, 3))
        workers.add(B, of(B, 3))
        await settle()
        workers.add(C, of(C, 0))
        await settle()
        assert work.begun == [C]


async def test_nothing_yields_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "LONGEST", 0.2)
    work = Held()
    async with running(work, 1, lambda: True) as workers:
        for key in (A, B):
            workers.add(key, of(key, 3))
            work.go.release()
        await eventually(lambda: work.begun == [A, B])


def keys(namespace: str, number: int) -> list[ObjectKey]:
    return [ObjectKey(namespace, f"{namespace}-{index}") for index in range(number)]


def add(workers: Workers, level: int, *wanted: ObjectKey) -> None:
    for key in wanted:
        workers.add(key, of(key, level))


async def test_within_a_severity_the_turn_goes_round_the_namespaces() -> None:
    work = Held()
    async with running(work, 1) as workers:
        add(workers, P3, *keys("eve", 3), *keys("shop", 2), *keys("prod", 1))
        add(workers, P2, *keys("late", 1))
        for _ in range(7):
            work.go.release()
            await settle()
    assert [key.namespace for key in work.begun] == ["late", "eve", "shop", "prod", "eve", "shop", "eve"]


async def test_a_namespace_alone_may_use_all_workers() -> None:
    work = Held()
    async with running(work, 4) as workers:
        add(workers, P2, *keys("prod", 5))
        await settle()
        assert work.at_once == 4
        add(workers, P0, *keys("prod", 7)[5:])
        await settle()
        assert work.at_once == 5, "the one that is kept, too"


async def test_while_another_namespace_waits_none_holds_over_half_of_the_workers() -> None:
    work = Held()
    async with running(work, 4) as workers:
        add(workers, P0, *keys("eve", 20))
        await settle()
        add(workers, P3, *keys("prod", 20))
        await settle()
        assert [key.namespace for key in work.begun].count("prod") == 2
        for _ in range(4):
            work.go.release()
            await settle()
        assert work.at_once == 5


class Hanging:
    """Work that waits for something outside, on the workers that it is given."""

    def __init__(self) -> None:
        self.begun: list[ObjectKey] = []
        self.done: list[ObjectKey] = []
        """Those that went on, and held a worker when they did."""
        self.answers: dict[ObjectKey, asyncio.Event] = {}
        self.fails: set[ObjectKey] = set()
        self.urges: set[ObjectKey] = set()
        self.workers: Workers | None = None

    async def __call__(self, key: ObjectKey) -> None:
        self.begun.append(key)
        answer = self.answers.setdefault(key, asyncio.Event())
        with suppress(ValueError):
            await self.workers.away(key, self._answer(key, answer), urges=key in self.urges)
        if not self.waits(key):
            self.done.append(key)

    async def _answer(self, key: ObjectKey, answer: asyncio.Event) -> None:
        await answer.wait()
        if key in self.fails:
            raise ValueError("no answer")

    def waits(self, key: ObjectKey) -> bool:
        return self.workers._visits[key].worker is None


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Hanging:
    monkeypatch.setattr(figures, "AWAY_AFTER", 0.0)
    return Hanging()


@asynccontextmanager
async def waiting_outside(work: Hanging, size: int) -> AsyncIterator[Workers]:
    async with running(work, size, longest=3600) as workers:
        work.workers = workers
        yield workers


async def test_eighteen_incidents_of_one_namespace_that_hang_leave_the_p0_of_another_its_turn(hanging: Hanging) -> None:
    async with waiting_outside(hanging, WORKERS) as workers:
        add(workers, P0, *keys("eve", 18))
        await eventually(lambda: len(hanging.begun) == 18)
        add(workers, P0, ObjectKey("prod", "a"))
        await eventually(lambda: ObjectKey("prod", "a") in hanging.begun)


async def test_a_visit_that_waits_for_the_world_outside_holds_no_worker_and_takes_one_again(hanging: Hanging) -> None:
    async with waiting_outside(hanging, 1) as workers:
        add(workers, P3, A, B)
        await eventually(lambda: hanging.begun == [A, B])
        idle = asyncio.create_task(workers.idle())
        for key in (A, B):
            hanging.answers[key].set()
        await eventually(lambda: sorted(hanging.done) == [A, B])
        await asyncio.wait_for(idle, 5)
        assert workers._seats.used == 0


async def test_what_is_answered_at_once_keeps_its_worker() -> None:
    work = Hanging()
    async with waiting_outside(work, 1) as workers:
        add(workers, P3, A, B)
        await settle()
        assert (work.begun, work.waits(A)) == ([A], False)
        work.answers[A].set()
        await settle()
        assert work.done == [A]


async def test_a_visit_that_waits_outside_is_not_begun_again_but_once_more_at_its_end(hanging: Hanging) -> None:
    async with waiting_outside(hanging, 2) as workers:
        add(workers, P3, A)
        await eventually(lambda: A in workers._visits and hanging.waits(A))
        add(workers, P3, A, A)
        await settle()
        assert hanging.begun == [A]
        hanging.answers[A].set()
        await eventually(lambda: hanging.done == [A, A])


async def test_a_visit_that_comes_back_goes_before_those_of_its_severity_that_have_not_begun(hanging: Hanging) -> None:
    async with waiting_outside(hanging, 1) as workers:
        add(workers, P3, A)
        await eventually(lambda: A in workers._visits and hanging.waits(A))
        busy = workers._seats.at_once(of(B, P3))
        add(workers, P3, B)
        hanging.answers[A].set()
        await settle()
        assert (hanging.done, hanging.begun) == ([], [A])
        workers._seats.leave(busy)
        await eventually(lambda: hanging.begun == [A, B])
        assert hanging.done == [A]


@pytest.mark.parametrize("how", ["urges", "fails"])
async def test_an_act_that_has_an_outcome_and_what_is_aborted_go_on_though_no_worker_is_free(
    hanging: Hanging, how: str
) -> None:
    getattr(hanging, how).add(A)
    async with waiting_outside(hanging, 1) as workers:
        add(workers, P3, A)
        await eventually(lambda: A in workers._visits and hanging.waits(A))
        workers._seats.at_once(of(B, P3))
        hanging.answers[A].set()
        await eventually(lambda: hanging.done == [A])


async def test_a_visit_that_waits_outside_goes_on_to_its_end_though_all_that_waits_is_dropped(hanging: Hanging) -> None:
    async with waiting_outside(hanging, 1) as workers:
        add(workers, P3, A)
        await eventually(lambda: A in workers._visits and hanging.waits(A))
        busy = workers._seats.at_once(of(B, P3))
        hanging.answers[A].set()
        await settle()
        add(workers, P3, B)
        workers.clear()
        workers._seats.leave(busy)
        await eventually(lambda: hanging.done == [A])
        assert hanging.begun == [A]


async def test_workers_that_are_told_to_end_do_so_though_visits_wait_outside_and_for_a_worker(hanging: Hanging) -> None:
    workers = hanging.workers = Workers(Priority(), 1)
    task = asyncio.create_task(workers.run(hanging))
    add(workers, P3, A)
    await eventually(lambda: A in workers._visits and hanging.waits(A))
    add(workers, P3, B)
    await eventually(lambda: B in workers._visits and hanging.waits(B))
    busy = workers._seats.at_once(of(C, P3))
    hanging.answers[A].set()
    await settle()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=5)
    assert (done, hanging.done, workers._visits) == ({task}, [], {})
    workers._seats.leave(busy)
    assert workers._seats.used == 0


async def test_a_visit_that_is_cancelled_before_it_has_begun_is_not_taken_for_one_that_goes_on() -> None:
    work, workers = Held(), Workers(Priority(), 1)
    ended = asyncio.create_task(workers.run(work))
    await settle()
    ended.cancel()
    add(workers, P0, A)
    with suppress(asyncio.CancelledError):
        await ended
    assert (work.begun, workers._seats.used) == ([], 0)
    task = asyncio.create_task(workers.run(work))
    add(workers, P0, A)
    await eventually(lambda: work.begun == [A])
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_what_a_visit_does_is_done_for_its_namespace_at_its_severity() -> None:
    done_for: list[Flow] = []

    async def work(_: ObjectKey) -> None:
        done_for.append(FLOW.get())

    async with running(work, 2) as workers:
        add(workers, P3, A)
        add(workers, P0, *keys("shop", 1))
        await eventually(lambda: sorted(done_for) == [Flow("prod", P3), Flow("shop", P0)])
        assert FLOW.get() == Flow("", 0), "what is nobody's is the operator's own"


async def test_a_namespace_has_only_so_many_visits_under_way_and_some_more_that_are_urgent(hanging: Hanging) -> None:
    async with waiting_outside(hanging, 8) as workers:
        add(workers, P3, *keys("eve", VISITS + 1))
        await eventually(lambda: len(hanging.begun) == VISITS)
        await asyncio.sleep(0.05)
        assert (len(hanging.begun), workers.depth) == (VISITS, 1)
        urgent = [ObjectKey("eve", f"urgent-{number}") for number in range(kept_of(VISITS) + 1)]
        add(workers, P1, *urgent)
        await eventually(lambda: len(hanging.begun) == VISITS + kept_of(VISITS))
        add(workers, P3, A)
        await eventually(lambda: A in hanging.begun)
        hanging.answers[urgent[0]].set()
        await eventually(lambda: urgent[-1] in hanging.begun)


async def test_what_is_urgent_holds_the_priority_while_it_has_a_worker_and_not_while_it_waits(hanging: Hanging) -> None:
    async with waiting_outside(hanging, 1) as workers:
        await settle()
        add(workers, P0, A)
        assert workers.priority.is_held
        await eventually(lambda: not workers.priority.is_held)
        assert hanging.waits(A)
        hanging.answers[A].set()
        await eventually(lambda: hanging.done == [A])
