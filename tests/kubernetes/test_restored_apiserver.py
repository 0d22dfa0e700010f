"""An apiserver that was restored from a backup has versions again that it had left behind: what watches it notices, and ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
import pytest

from incident_operator.api.meta import ObjectKey
from incident_operator.engine.recorder import Expectations
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import Reads
from incident_operator.kubernetes.partial_objects import PartialIncident
from incident_operator.kubernetes.reflector import HistoryWentBack, Pace, Reflector
from incident_operator.process import kept_running
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_watch import END, line
from tests.kubernetes.reflecting import OPEN, Told, until

INCIDENTS = discovery.incidents(None)


def incident(name: str) -> dict[str, object]:
    return {
        "apiVersion": "incidents.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": name, "namespace": "prod"},
        "spec": {"severity": "P1"},
    }


def follower(reads: Reads, told: Told, pace: Pace) -> Reflector[PartialIncident]:
    decoder = msgspec.json.Decoder(PartialIncident)
    return Reflector(reads, INCIDENTS, told, decoder, selector=OPEN, pace=pace)


@pytest.mark.parametrize(
    "pace",
    [Pace(watch=1.0, between_lists=0.0, pauses=(0.01,)), Pace(watch=1.0, slack=5.0, pauses=(0.01,))],
    ids=["the next list tells", "a watch without a word is looked after"],
)
async def test_a_list_older_than_what_was_told_ends_the_process_that_remembers_it(pace: Pace) -> None:
    async with FakeApiserver() as yesterday, FakeApiserver() as today:
        yesterday.put(incident("old"))
        for number in range(10):
            today.put(incident(f"new-{number}"))
        access = today.access()
        async with Reads(access) as reads:
            told = Told()
            reflector = follower(reads, told, pace)
            await reflector.start()
            object.__setattr__(access, "server", yesterday.access().server)
            with pytest.raises(HistoryWentBack, match="the cluster was restored from a backup"):
                await asyncio.wait_for(kept_running("watch of incidents", reflector.run, pauses=(0.0,)), 10)
    assert "old" not in told.names("left")


@pytest.fixture
async def api_of_three() -> AsyncIterator[FakeApiserver]:
    """It has seen some changes."""
    async with FakeApiserver() as api:
        for number in range(3):
            api.put(incident(f"new-{number}"))
        yield api


async def test_a_list_that_is_not_older_changes_nothing() -> None:
    async with FakeApiserver() as api:
        api.put(incident("one"))
        async with Reads(api.access()) as reads:
            told = Told()
            reflector = follower(reads, told, Pace(watch=1.0, between_lists=0.0, pauses=(0.01,)))
            await reflector.start()
            with suppress(TimeoutError):
                await asyncio.wait_for(reflector.run(), 1.5)
    assert told.names() == ["one"]


def test_what_was_just_read_counts_though_a_newer_version_was_known() -> None:
    key, known = ObjectKey("prod", "pack-1"), Expectations()
    known.expect(key, "1000")
    assert known.is_expected(key, "501")
    known.read(key, "500")
    assert not known.is_expected(key, "501")


async def test_a_version_that_only_an_own_write_has_told_counts_too(api_of_three: FakeApiserver) -> None:
    """As where etcd is restored before the watch has told of what the receiver stored: its index would remember it for ever."""
    stored = 0
    async with Reads(api_of_three.access()) as reads:
        decoder = msgspec.json.Decoder(PartialIncident)
        pace = Pace(watch=1.0, between_lists=0.0, pauses=(0.01,))
        reflector = Reflector(
            reads,
            INCIDENTS,
            Told(),
            decoder,
            selector=OPEN,
            pace=pace,
            newest=lambda: api_of_three.watches.version + stored,
        )
        await reflector.start()
        stored = 1000
        with pytest.raises(HistoryWentBack):
            await asyncio.wait_for(reflector.run(), 10)


async def test_a_bookmark_that_is_behind_asks_for_a_list(api_of_three: FakeApiserver) -> None:
    api = api_of_three
    async with Reads(api.access()) as reads:
        told = Told()
        reflector = follower(reads, told, Pace(watch=30.0, slack=5.0, pauses=(0.01,)))
        await reflector.start()
        lists = sum("watch" not in one.params for one in api.requests)
        task = asyncio.create_task(reflector.run())
        await until(lambda: api.watches.open)
        api.watches.send(line("BOOKMARK", {"metadata": {"resourceVersion": "1"}}))
        api.watches.send(END)
        await until(lambda: sum("watch" not in one.params for one in api.requests) > lists)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
