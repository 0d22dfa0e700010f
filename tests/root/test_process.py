"""How the process runs and ends: signals are heard by us alone, acts end first, and the Lease is given back."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable

import kopf
import pytest
from structlog.testing import capture_logs

from incident_operator import process
from incident_operator.api.meta import ObjectKey
from incident_operator.kubernetes import apiserver, discovery
from incident_operator.process import Parts, Told
from incident_operator.settings import Settings
from tests.kubernetes.fake_apiserver import FakeApiserver

INCIDENT = ObjectKey("prod", "pack-1")
LEASE = discovery.leases("prod", "incident-operator")


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
    parts.in_flight.enter(INCIDENT)
    finishing = asyncio.create_task(process.finish(parts, Told()))
    await asyncio.sleep(0.05)
    assert parts.ending.is_set()
    assert holder(api) == "one"
    parts.in_flight.leave(INCIDENT)
    await asyncio.wait_for(finishing, 5)
    assert holder(api) == ""


async def test_a_second_signal_leaves_what_is_under_way_to_who_comes_when_the_lease_is_over(
    api: FakeApiserver, parts: Parts
) -> None:
    await leads(parts)
    parts.in_flight.enter(INCIDENT)
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
    parts.in_flight.enter(INCIDENT)
    os.kill(os.getpid(), signal.SIGTERM)
    await until(parts.ending.is_set)
    await asyncio.sleep(0.05)
    assert (running.done(), kopf_hears, holder(api)) == (False, [], "one")
    parts.in_flight.leave(INCIDENT)
    await asyncio.wait_for(running, 5)
    assert (kopf_hears, holder(api)) == ([], "")


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
    raise apiserver.Unavailable(0, "Down", "away", maybe_applied=False)


async def fails_in_a_group(*_: object) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fails())


@pytest.mark.usefixtures("kopf_hears")
@pytest.mark.parametrize("failing", [fails, fails_in_a_group])
async def test_a_part_that_always_fails_is_what_the_process_ends_with(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, failing: Callable[..., Awaitable[None]]
) -> None:
    monkeypatch.setattr(type(parts.incident_informer), "run", failing)
    monkeypatch.setattr(process.kept_running, "__defaults__", ((0.0,),))
    ended: list[str] = []
    with pytest.raises(apiserver.Unavailable):
        await asyncio.wait_for(process.run(parts, Settings(), lambda: ended.append("by force, if need be")), 5)
    assert ended == ["by force, if need be"]


@pytest.mark.parametrize("failing", [fails, fails_in_a_group])
async def test_a_part_that_failed_is_told_and_started_again(failing: Callable[..., Awaitable[None]]) -> None:
    runs: list[str] = []

    async def part() -> None:
        runs.append("run")
        if len(runs) < 3:
            await failing()

    with capture_logs() as logs:
        await asyncio.wait_for(process.kept_running("watch of runbooks", part, pauses=(0.0,)), 5)
    assert len(runs) == 3
    assert [one["part"] for one in logs if one["log_level"] == "error"] == ["watch of runbooks"] * 2


async def test_kopf_that_stops_by_itself_is_started_again_and_signals_stay_ours(
    api: FakeApiserver, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[str] = []

    async def spawn(**_: object) -> list[asyncio.Task[object]]:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, starts.append, "SIGTERM")
        starts.append("start")
        return [asyncio.create_task(asyncio.sleep(0 if len(starts) == 1 else 3600))]

    monkeypatch.setattr(kopf, "spawn_tasks", spawn)
    monkeypatch.setattr(process.kept_running, "__defaults__", ((0.0,),))
    running = asyncio.create_task(process.run(parts, Settings()))
    await until(lambda: len(starts) == 2)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 5)
    assert starts == ["start", "start"]


def test_a_process_that_hangs_at_its_end_is_ended_by_force() -> None:
    hanging = "import time; from incident_operator import process; process.end_at_the_latest(0.1); time.sleep(60)"
    ended = subprocess.run([sys.executable, "-c", hanging], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (1, "incident-operator did not end within 0.1s and is ended by force\n")
