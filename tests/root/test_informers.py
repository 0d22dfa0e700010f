"""From the apiserver's watch to the reconciliations: each Incident once, none left out, closed ones at no cost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from incident_operator.api.incident import Incident
from incident_operator.api.meta import ObjectKey
from incident_operator.core.alerts import merging
from incident_operator.engine.metrics import IncidentCounts
from incident_operator.engine.recorder import Expectations
from incident_operator.engine.work_queue import WorkQueue
from incident_operator.informers import Inbox, IncidentInformer
from incident_operator.kubernetes import apiserver, discovery
from incident_operator.kubernetes.apiserver import Reads
from incident_operator.kubernetes.discovery import EVERYWHERE
from incident_operator.kubernetes.reflector import Pace
from incident_operator.receiver.index import IncidentIndex
from incident_operator.receiver.routing import RunbookIndex
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.reflecting import until

GROUP = merging.of("prod", "pack", ("pod",), {"pod": "a"})
NAME = GROUP.sequence.name(1)
KEY, PATH = ObjectKey("prod", NAME), discovery.incidents("prod", NAME)
ENDED = "2025-10-21T01:00:00Z"


def clock() -> datetime:
    return datetime.now(UTC)


def stored(phase: str = "") -> dict:
    meta = {"namespace": "prod", "name": NAME, "labels": {"incidents.dev/group": GROUP.sequence.digest}}
    spec = {"runbookRef": {"name": "pack"}, "severity": "P1"}
    status = {"status": {"phase": phase, "times": {"resolved": ENDED}}} if phase else {}
    return {"apiVersion": "incidents.dev/v1alpha1", "kind": "Incident", "metadata": meta, "spec": spec, **status}


@dataclass
class Process:
    """A process whose reconciliations read the Incident and write its next phase, as those of the engine do."""

    api: FakeApiserver
    client: apiserver.Kube
    expectations: Expectations = field(default_factory=Expectations)
    reconciled: list[str] = field(default_factory=list)
    """Phase before each reconciliation."""
    phases: dict[str, str] = field(default_factory=dict)
    """Phase → the one that a reconciliation writes."""

    def __post_init__(self) -> None:
        queues = WorkQueue(self.reconcile, clock), WorkQueue(self.nothing, clock)
        self.inbox = Inbox(*queues, IncidentIndex(), RunbookIndex(), IncidentCounts(), self.expectations)

    async def reconcile(self, key: ObjectKey) -> None:
        found = Incident.model_validate(await self.client.get(discovery.incidents(*key)))
        self.expectations.expect(key, found.metadata.resource_version)
        self.reconciled.append(found.status.phase)
        if following := self.phases.get(found.status.phase):
            status = {"status": {"phase": following, "times": {"resolved": ENDED}}}
            written = await self.client.merge_patch(discovery.incidents(*key, "status"), status)
            await asyncio.sleep(0.02)  # the echo is faster than what follows the answer
            self.expectations.expect(key, written["metadata"]["resourceVersion"])
            self.expectations.closed(Incident.model_validate(written))

    async def nothing(self, _: ObjectKey) -> None:
        return None

    def open(self) -> list[bool]:
        return [episode.open for episode in self.inbox.incident_index.episodes(GROUP.sequence)]


@asynccontextmanager
async def running(api: FakeApiserver, pace: Pace | None = None) -> AsyncIterator[Process]:
    async with apiserver.Kube(api.access()) as client, Reads(api.access()) as reads:
        process = Process(api, client)
        feed = IncidentInformer(client, reads, process.inbox, EVERYWHERE, clock, pace)
        await feed.start()
        tasks = [asyncio.create_task(each.run()) for each in (feed, process.inbox.incidents)]
        await until(lambda: api.watches.open)
        try:
            yield process
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def test_an_incident_costs_one_reconciliation_though_its_own_events_come_during_it(api: FakeApiserver) -> None:
    async with running(api) as process:
        process.phases["Pending"] = "Mitigating"
        api.put(stored())
        await until(lambda: process.reconciled)
        await asyncio.sleep(0.2)
    assert process.reconciled == ["Pending"]


async def test_one_that_the_receiver_hands_over_costs_one_reconciliation_and_waits_for_no_event(
    api: FakeApiserver,
) -> None:
    async with running(api) as process:
        api.watches.hide()
        process.inbox.incident(await process.client.create(discovery.incidents("prod"), stored()))
        await until(lambda: process.reconciled)
        process.inbox.incident(api.object(PATH))
        await asyncio.sleep(0.1)
    assert process.reconciled == ["Pending"]


async def test_what_a_person_does_during_a_reconciliation_has_another_one_follow(api: FakeApiserver) -> None:
    async with running(api) as process:
        process.phases["Pending"] = "Mitigating"
        api.put(stored())
        await until(lambda: api.object(PATH).get("status", {}).get("phase") == "Mitigating")
        await process.client.merge_patch(PATH, {"metadata": {"annotations": {"incidents.dev/abort": "now alice"}}})
        await until(lambda: len(process.reconciled) == 2)
    assert process.reconciled == ["Pending", "Mitigating"]


async def test_one_that_was_opened_by_hand_under_the_name_of_a_group_takes_no_alert_in(api: FakeApiserver) -> None:
    made = stored()
    made["metadata"]["annotations"] = {"incidents.dev/opened-by": "mallory@example.com"}
    api.put(made)
    async with running(api) as process:
        await until(lambda: process.reconciled)
        (episode,) = process.inbox.incident_index.episodes(GROUP.sequence)
    assert (episode.own, episode.open) == (False, False)


async def test_an_incident_whose_event_was_lost_is_reconciled_after_the_next_list(api: FakeApiserver) -> None:
    async with running(api, Pace(watch=1.0, between_lists=0.5, pauses=(0.01,))) as process:
        api.watches.hide()
        api.put(stored())
        await until(lambda: process.reconciled)


async def test_one_that_we_closed_is_known_as_closed_without_a_question(api: FakeApiserver) -> None:
    async with running(api) as process:
        process.phases["Pending"] = "Resolved"
        api.put(stored())
        await until(lambda: process.open() == [False])
        last = process.inbox.counts.last(ObjectKey("prod", "pack"))
    assert process.reconciled == ["Pending"]
    assert last is not None
    assert (last.name, last.phase) == (NAME, "Resolved")
    assert len([one for one in api.requests if one.path == PATH and one.method == "GET"]) == 1, (
        "the reconciliation's own"
    )


async def test_one_that_another_process_closed_is_asked_for_and_known_as_closed(api: FakeApiserver) -> None:
    async with running(api) as process:
        api.put(stored())
        await until(lambda: process.reconciled)
        api.inject(Fault.INTERNAL_ERROR, method="GET", path=PATH)
        api.put(stored("Failed"))
        await until(lambda: process.open() == [False])
        last = process.inbox.counts.last(ObjectKey("prod", "pack"))
    assert last is not None
    assert last.phase == "Failed"


@pytest.mark.parametrize("hidden", [0, 1])
async def test_one_that_was_deleted_is_forgotten(api: FakeApiserver, hidden: int) -> None:
    async with running(api, Pace(watch=1.0, between_lists=0.5, pauses=(0.01,))) as process:
        api.put(stored())
        await until(lambda: process.open() == [True])
        api.watches.hide(hidden)
        api.remove(PATH)
        await until(lambda: process.open() == [])
        assert process.inbox.counts.open(ObjectKey("prod", "pack")) == 0


async def test_closed_incidents_are_not_even_read_at_the_start(api: FakeApiserver) -> None:
    api.put(stored("Resolved"))
    async with running(api) as process:
        assert process.open() == []
    assert process.reconciled == []


async def test_each_served_namespace_is_watched_by_itself(api: FakeApiserver) -> None:
    async with apiserver.Kube(api.access()) as client, Reads(api.access()) as reads:
        feed = IncidentInformer(client, reads, Process(api, client).inbox, ("prod", "stage"), clock)
        await feed.start()
    assert [one.path for one in api.requests] == [discovery.incidents("prod"), discovery.incidents("stage")]


async def test_the_last_of_many_served_namespaces_is_watched_as_the_first(api: FakeApiserver) -> None:
    others = tuple(f"busy-{number}" for number in range(120))
    async with apiserver.Kube(api.access()) as client, Reads(api.access()) as reads:
        process = Process(api, client)
        feed = IncidentInformer(client, reads, process.inbox, (*others, "prod"), clock)
        await feed.start()
        running = [asyncio.create_task(each.run()) for each in (feed, process.inbox.incidents)]
        await until(lambda: len(api.watches.open) == len(others) + 1)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
