"""How the process runs and ends: signals are heard by us alone, acts end first, and the Lease is given back."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace

import kopf
import pytest

from incident_operator import process
from incident_operator.clients import kube, paths
from incident_operator.engine.keys import Key
from incident_operator.process import Parts, Told
from incident_operator.relisting import Relisting
from incident_operator.settings import Settings
from kube.fake_apiserver import FakeApiserver

INCIDENT = Key("prod", "pack-1")
LEASE = paths.leases("prod", "incident-operator")


def holder(api: FakeApiserver) -> str:
    held: str = api.object(LEASE)["spec"]["holderIdentity"]
    return held


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


async def leads(parts: Parts) -> None:
    await parts.elector.turn()
    assert parts.elector.may_act()


async def test_without_an_act_under_way_the_lease_is_given_back_at_once(api: FakeApiserver, parts: Parts) -> None:
    await leads(parts)
    await process.finish(parts, Told())
    assert (holder(api), parts.ending.is_set()) == ("", True)


async def test_an_act_under_way_ends_before_the_lease_is_given_back(api: FakeApiserver, parts: Parts) -> None:
    await leads(parts)
    parts.busy.enter(INCIDENT)
    finishing = asyncio.create_task(process.finish(parts, Told()))
    await asyncio.sleep(0.05)
    assert parts.ending.is_set()
    assert holder(api) == "one"
    parts.busy.leave(INCIDENT)
    await asyncio.wait_for(finishing, 5)
    assert holder(api) == ""


async def test_a_second_signal_leaves_what_is_under_way_to_who_comes_when_the_lease_is_over(
    api: FakeApiserver, parts: Parts
) -> None:
    await leads(parts)
    parts.busy.enter(INCIDENT)
    told = Told()
    told.hear()
    finishing = asyncio.create_task(process.finish(parts, told))
    await asyncio.sleep(0.05)
    assert not finishing.done()
    told.hear()
    await asyncio.wait_for(finishing, 5)
    assert holder(api) == "one"


@pytest.fixture
def kopf_hears(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What kopf is told by signals; it starts with a listener as its own, and no requests."""
    heard: list[str] = []

    async def spawn(*, stop_flag: asyncio.Event, **_: object) -> list[asyncio.Task[object]]:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, heard.append, "SIGTERM")
        return [asyncio.create_task(stop_flag.wait())]

    monkeypatch.setattr(kopf, "spawn_tasks", spawn)
    return heard


async def test_sigterm_is_ours_and_acts_end_before_kopf_is_told(
    api: FakeApiserver, parts: Parts, kopf_hears: list[str]
) -> None:
    running = asyncio.create_task(process.run(parts, Settings()))
    await until(parts.elector.may_act)
    parts.busy.enter(INCIDENT)
    os.kill(os.getpid(), signal.SIGTERM)
    await until(parts.ending.is_set)
    await asyncio.sleep(0.05)
    assert (running.done(), kopf_hears, holder(api)) == (False, [], "one")
    parts.busy.leave(INCIDENT)
    await asyncio.wait_for(running, 5)
    assert (kopf_hears, holder(api)) == ([], "")


@pytest.mark.usefixtures("kopf_hears")
async def test_a_runbook_that_no_watch_tells_of_is_found_while_it_runs(api: FakeApiserver, parts: Parts) -> None:
    often = replace(parts, relisting=Relisting(parts.client, parts.inbox, (), pause=0.05))
    running = asyncio.create_task(process.run(often, Settings()))
    spec = {"title": "t", "serviceAccountName": "rb", "match": ['alertname="A"']}
    meta = {"name": "pack", "namespace": "prod"}
    api.put({"apiVersion": "incidents.dev/v1alpha1", "kind": "Runbook", "metadata": meta, "spec": spec})
    await until(lambda: parts.inbox.runbook_index.names() == (("prod", "pack"),))
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 10)


@pytest.mark.usefixtures("kopf_hears")
async def test_other_tasks_outlive_the_stop(parts: Parts) -> None:
    running = asyncio.create_task(process.run(parts, Settings()))
    await until(parts.elector.may_act)
    beside = asyncio.create_task(asyncio.sleep(3600))
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 5)
    assert not beside.done()
    beside.cancel()


async def fails(*_: object) -> None:
    raise kube.Unavailable(0, "Down", "away", sent=False)


async def fails_in_a_group(*_: object) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fails())


@pytest.mark.usefixtures("kopf_hears")
@pytest.mark.parametrize("failing", [fails, fails_in_a_group])
async def test_the_failure_of_a_part_is_what_the_process_ends_with(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, failing: Callable[..., Awaitable[None]]
) -> None:
    monkeypatch.setattr(type(parts.feed), "run", failing)
    with pytest.raises(kube.Unavailable):
        await asyncio.wait_for(process.run(parts, Settings()), 5)
