"""Steps that hang hold nobody else up: what waits for the world outside has no worker, and stays what it was for all else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from incident_operator.api.meta import ObjectKey
from incident_operator.core.action import Call, Preview
from incident_operator.core.outcomes import Outcome
from incident_operator.engine import executor
from incident_operator.engine.work_queue import WorkQueue
from incident_operator.engine.workers import Workers
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes import priority as figures
from incident_operator.kubernetes.priority import Priority
from tests.engine.fake_cluster import EDITOR, INCIDENT, FakeCluster, Targets, edited_by

EVE = [ObjectKey("eve", f"pack-{number}-1") for number in range(18)]


@dataclass
class Hanging(Targets):
    """A cluster whose services do not answer one namespace, until they are told to."""

    silent: set[str] = field(default_factory=set)
    hang: dict[str, list[str]] = field(default_factory=dict)
    """Namespace → steps that wait for an answer."""
    answers_now: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, call: Call[Any], tools: object) -> Outcome:
        await self._answered(call)
        return await super().read(call, tools)

    async def act(self, call: Call[Any], preview: Preview, tools: object) -> Outcome:
        await self._answered(call)
        return await super().act(call, preview, tools)

    async def _answered(self, call: Call[Any]) -> None:
        if f"{call.namespace}/{call.step}" in self.silent:
            self.hang.setdefault(call.namespace, []).append(call.step)
            await self.answers_now.wait()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "AWAY_AFTER", 0.0)


def hanging(pack: FakeCluster, *silent: str) -> Hanging:
    pack.targets = made = Hanging(silent=set(silent))
    return made


def into_namespace(pack: FakeCluster, key: ObjectKey, severity: str = "P0") -> None:
    """Have what the cluster has in prod in another namespace as well."""
    for path in (
        discovery.connections("prod", "read"),
        discovery.connections("prod", "write"),
        discovery.connections("prod", "api"),
    ):
        put(pack, path, key.namespace)
    put(pack, discovery.runbooks("prod", "pack"), key.namespace)
    body = pack.api.object(discovery.incidents(*INCIDENT))
    meta = {"name": key.name, "namespace": key.namespace}
    pack.api.put({**body, "metadata": meta, "spec": {**body["spec"], "severity": severity}, "status": {}})


def put(pack: FakeCluster, path: str, namespace: str) -> None:
    body = pack.api.object(path)
    pack.api.put(edited_by({**body, "metadata": {"name": body["metadata"]["name"], "namespace": namespace}}, EDITOR))


@asynccontextmanager
async def working(pack: FakeCluster, size: int = figures.WORKERS) -> AsyncIterator[tuple[WorkQueue, Workers]]:
    workers, engine = Workers(Priority(), size), pack.engine()
    engine = replace(engine, executor=replace(engine.executor, workers=workers))
    queue = WorkQueue(engine.reconcile, lambda: pack.now, workers)
    task = asyncio.create_task(queue.run())
    try:
        yield queue, workers
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def eventually(met: Callable[[], bool]) -> None:
    for _ in range(1500):
        if met():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never came true")


async def test_eighteen_incidents_of_one_namespace_that_hang_leave_the_p0_of_another_its_turn(
    pack: FakeCluster,
) -> None:
    targets = hanging(pack, "eve/packs")
    for key in EVE:
        into_namespace(pack, key)
    async with working(pack) as (queue, _):
        for key in EVE:
            queue.add(key, "P0")
        await eventually(lambda: len(targets.hang.get("eve", [])) == len(EVE))
        queue.add(INCIDENT, "P0")
        await eventually(lambda: pack.incident().status.phase == "AwaitingApproval")
        assert targets.done() == ["serve"]


async def test_an_act_that_goes_on_holds_no_worker_and_its_outcome_is_recorded_though_none_is_free(
    pack: FakeCluster,
) -> None:
    targets = hanging(pack, "prod/serve")
    async with working(pack, 1) as (queue, workers):
        queue.add(INCIDENT, "P3")
        await eventually(lambda: "prod" in targets.hang and workers._seats.used == 0)
        assert pack.in_flight.has(INCIDENT)
        workers._seats.at_once(workers.priority.flow("eve"))
        targets.answers_now.set()
        await asyncio.wait_for(pack.in_flight.idle(), 15)
        assert pack.state("serve") == "Succeeded"


@pytest.mark.parametrize(
    ("hangs", "told"),
    [("prod/serve", ("Mitigating", "Aborting")), ("prod/packs", ("Failed", "Aborted"))],
    ids=["an act goes on, and the abort is recorded", "a read ends"],
)
async def test_an_abort_is_heard_at_once_though_no_worker_is_free(
    pack: FakeCluster, hangs: str, told: tuple[str, str]
) -> None:
    targets = hanging(pack, hangs)
    async with working(pack, 1) as (queue, workers):
        queue.add(INCIDENT, "P3")
        await eventually(lambda: "prod" in targets.hang and workers._seats.used == 0)
        workers._seats.at_once(workers.priority.flow("eve"))
        await pack.annotate("abort", "now carol@example.com")
        pack.in_flight.abort_came(INCIDENT)
        await eventually(lambda: (pack.incident().status.phase, pack.incident().status.reason) == told)
        assert hangs != "prod/serve" or pack.state("serve") == "Running"


async def test_a_process_that_leads_no_more_lets_an_act_without_a_worker_end_and_begins_nothing(
    pack: FakeCluster,
) -> None:
    targets, leads = hanging(pack, "prod/serve"), True
    pack.leads = lambda: leads
    async with working(pack, 1) as (queue, workers):
        queue.add(INCIDENT, "P3")
        await eventually(lambda: "prod" in targets.hang and workers._seats.used == 0)
        leads = False
        queue.pause()
        targets.answers_now.set()
        await asyncio.wait_for(queue.idle(), 15)
        assert (pack.state("serve"), targets.done()) == ("Succeeded", ["serve"])


async def test_a_process_that_ends_waits_for_an_act_without_a_worker(pack: FakeCluster) -> None:
    targets = hanging(pack, "prod/serve")
    async with working(pack, 1) as (queue, workers):
        queue.add(INCIDENT, "P3")
        await eventually(lambda: "prod" in targets.hang and workers._seats.used == 0)
        idle = asyncio.create_task(pack.in_flight.idle())
        await asyncio.sleep(0.05)
        assert not idle.done()
        targets.answers_now.set()
        await asyncio.wait_for(idle, 15)
    assert pack.state("serve") == "Succeeded"


async def test_an_incident_that_hangs_in_its_first_read_says_what_it_is_at_with_one_write(
    pack: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "_WORTH_TELLING", 0.01)
    targets = hanging(pack, "prod/packs")
    async with working(pack) as (queue, _):
        queue.add(INCIDENT, "P1")
        await eventually(lambda: "prod" in targets.hang and pack.incident().status.step == "packs")
        told = pack.incident().status
        assert (told.phase, told.reason, pack.state("packs")) == ("Diagnosing", "Running", "Running")
        assert told.message.startswith("Running packs")
        await asyncio.sleep(0.1)
        written = [each for each in pack.api.writes if each.path == discovery.incidents(*INCIDENT, "status")]
        assert len(written) == 1, "however long it hangs"
        targets.answers_now.set()
        await eventually(lambda: pack.incident().status.phase == "AwaitingApproval")
        assert pack.state("packs") == "Succeeded"


async def test_what_takes_long_is_dropped_by_an_abort_also_while_it_is_being_told(
    pack: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "_WORTH_TELLING", 0.0)
    targets = hanging(pack, "prod/packs")
    async with working(pack) as (queue, _):
        queue.add(INCIDENT, "P1")
        await eventually(lambda: "prod" in targets.hang)
        await pack.annotate("abort", "now alice@example.com")
        pack.in_flight.abort_came(INCIDENT)
        await eventually(lambda: pack.incident().status.phase == "Failed")
        assert targets.done() == []


async def test_where_it_cannot_be_told_what_takes_long_goes_on_all_the_same(
    pack: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "_WORTH_TELLING", 0.01)
    targets = hanging(pack, "prod/packs")
    async with working(pack) as (queue, _):
        queue.add(INCIDENT, "P1")
        await eventually(lambda: "prod" in targets.hang)
        body = pack.api.object(discovery.incidents(*INCIDENT))
        pack.api.put({**body, "spec": {**body["spec"], "truncatedAlerts": 3}})
        await asyncio.sleep(0.1)
        targets.answers_now.set()
        await eventually(lambda: pack.incident().status.phase == "AwaitingApproval")
        assert targets.hang == {"prod": ["packs"]}, "it is not read again"
