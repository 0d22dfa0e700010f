"""The intake's requests to the apiserver: who may send the next, and how many are on their way."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from incident_operator.kubernetes import apiserver
from incident_operator.kubernetes.fair_shares import Flow
from incident_operator.kubernetes.priority import LEAST, MILDEST, MOST, GradientLimit, Priority, Writes
from incident_operator.receiver.metrics import ReceiverMetrics

P0, P1, P2, P3 = range(4)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Writers:
    """Tasks that want a place and hold it until they are told to end."""

    def __init__(self, writes: Writes) -> None:
        self.writes = writes
        self.began: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.ends: dict[str, asyncio.Event] = {}

    async def start(self, name: str, level: int, namespace: str = "prod") -> None:
        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._write(name, Flow(namespace, level)))
        await settle()

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.tasks[name]
        await settle()

    async def _write(self, name: str, flow: Flow) -> None:
        async with self.writes.taken(flow):
            self.began.append(name)
            await self.ends[name].wait()


async def full(limit: int = 5, kept: int = 1) -> Writers:
    writers = Writers(Writes(Priority(), GradientLimit(float(limit))))
    for number in range(limit - kept):
        await writers.start(f"mild {number}", P3)
    return writers


async def test_the_severest_is_next_and_equals_go_in_the_order_in_which_they_came() -> None:
    writers = await full()
    await writers.start("kept", P0)
    for name, level in [("a", P3), ("b", P2), ("d", P2), ("e", P1), ("c", P0)]:
        await writers.start(name, level)
    assert writers.writes.waiting == 5
    for name in ["kept", "c", "e", "mild 0", "mild 1", "mild 2"]:
        await writers.end(name)
    assert writers.began[5:] == ["c", "e", "b", "d", "a"]
    assert writers.writes.waiting == 0


async def test_how_they_stand_is_shown_in_metrics() -> None:
    writers, registry = await full(), CollectorRegistry()
    ReceiverMetrics(registry).watch_writes(writers.writes)
    for name, level in [("kept", P0), ("a", P3), ("b", P3), ("c", P1), ("d", MILDEST)]:
        await writers.start(name, level)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"incident_operator_intake_requests_{name}", labels)

    assert (value("limit"), value("in_flight")) == (5, 5)
    waiting = {severity: value("waiting", severity=severity) for severity in ("P0", "P1", "P2", "P3", "P4", "none")}
    assert waiting == {"P0": 0, "P1": 1, "P2": 0, "P3": 2, "P4": 0, "none": 1}
    for name in ("mild 0", "kept", "c"):
        await writers.end(name)
    assert (value("in_flight"), value("waiting", severity="P1"), value("waiting", severity="P3")) == (4, 0, 1)


@pytest.mark.parametrize(("level", "begins"), [(P0, True), (P1, True), (P2, False), (P3, False)])
async def test_a_place_is_kept_for_what_is_urgent(level: int, begins: bool) -> None:
    writers = await full()
    assert len(writers.began) == 4
    await writers.start("one", level)
    assert ("one" in writers.began) is begins
    await writers.start("two", P0)
    assert ("two" in writers.began) is not begins


async def test_the_turn_goes_round_the_namespaces() -> None:
    writers = await full()
    for name in ("eve 1", "eve 2", "shop 1"):
        await writers.start(name, P2, name.split()[0])
    for number in range(3):
        await writers.end(f"mild {number}")
    assert writers.began[4:] == ["eve 1", "shop 1", "eve 2"]


async def test_nothing_mild_is_written_while_something_urgent_has_the_priority() -> None:
    priority = Priority()
    writers = Writers(priority.writes)
    with priority.held(urgent=True):
        await writers.start("mild", P2)
        await writers.start("urgent", P1)
        assert writers.began == ["urgent"]
    await settle()
    assert "mild" not in writers.began, "the urgent write holds it now"
    assert priority.must_yield
    await writers.end("urgent")
    assert writers.began == ["urgent", "mild"]
    await writers.end("mild")
    assert not priority.must_yield


async def written(writes: Writes, times: int, error: BaseException | None = None) -> None:
    async def write() -> None:
        async with writes.taken(Flow("prod", P3), writes=True):
            await asyncio.sleep(0)
            if error is not None:
                raise error

    await asyncio.gather(*(write() for _ in range(times)), return_exceptions=True)


async def test_an_apiserver_that_keeps_up_is_sent_more_at_a_time_and_one_that_turns_away_less() -> None:
    writes = Writes(Priority(), clock=lambda: 0.0)
    assert writes.limit == 5
    for error in (
        apiserver.Unavailable(429, "TooManyRequests", "later", maybe_applied=False),
        asyncio.CancelledError(),
    ):
        await written(writes, 20, error)
        assert writes.limit == LEAST
    before = writes.limit
    await written(writes, 500)
    assert before < writes.limit <= MOST


async def test_an_apiserver_that_takes_ever_longer_is_sent_less_at_a_time() -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += max(now, 0.001)
        return now

    writes = Writes(Priority(), GradientLimit(12.0), clock)
    await written(writes, 60)
    assert writes.limit < 12


async def test_what_is_refused_because_it_is_there_already_says_nothing_against_the_apiserver() -> None:
    writes = Priority().writes
    await written(writes, 20, apiserver.AlreadyExists(409, "AlreadyExists", "it is there"))
    assert writes.limit == 5


async def test_however_slow_the_apiserver_is_something_mild_and_something_urgent_are_written() -> None:
    writers = await full(LEAST)
    assert len(writers.began) == LEAST - 1 >= 1
    await writers.start("urgent", P0)
    assert "urgent" in writers.began
