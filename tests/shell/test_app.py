"""The composition root: what it reads at the start, what it drops, and how it ends."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from incident_operator import app
from incident_operator.clients import kube
from incident_operator.clients.reads import Reads
from incident_operator.engine.driver import Driver
from incident_operator.engine.echoes import Echoes
from incident_operator.engine.expiry import Expiry
from incident_operator.engine.keys import Key
from incident_operator.engine.tally import Tally
from incident_operator.feed import IncidentFeed
from incident_operator.inbox import Inbox
from incident_operator.receiver.index import IncidentIndex
from incident_operator.receiver.runbooks import RunbookIndex
from kube.fake_apiserver import FakeApiserver

PACK = Key("prod", "pack")
SPEC = {"title": "t", "serviceAccountName": "rb", "match": ['alertname="A"']}


async def nothing(_: Key) -> datetime | None:
    return None


@pytest.fixture
async def parts(api: FakeApiserver) -> AsyncIterator[app.Parts]:
    drivers = Driver(nothing, app.clock), Driver(nothing, app.clock)
    inbox = Inbox(*drivers, IncidentIndex(), RunbookIndex(), Tally(), Echoes())
    async with kube.Kube(api.access()) as client, Reads(api.access()) as reads:
        feed = IncidentFeed(client, reads, inbox, (), app.clock)
        yield app.Parts(
            inbox, feed, Expiry(client, reads, app.clock, timedelta()), api.access(), client, asyncio.Event(), None
        )


@pytest.fixture
def signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def stored(kind: str, name: str, spec: Any, **more: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "prod"}
    return {"apiVersion": "incidents.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec, **more}


async def test_all_is_read_before_it_is_ready(api: FakeApiserver, parts: app.Parts) -> None:
    api.put(stored("Runbook", "pack", SPEC))
    api.put(stored("Incident", "pack-1", {"runbookRef": {"name": "pack"}}))
    assert not parts.inbox.incident_index.ready
    await app._list_all(parts, ())
    assert parts.inbox.incident_index.ready
    assert parts.inbox.runbook_index.ready
    assert parts.inbox.tally.open(PACK) == 1


async def test_one_object_that_cannot_be_read_does_not_keep_the_others_from_being_served(
    api: FakeApiserver, parts: app.Parts
) -> None:
    api.put(stored("Runbook", "a-strange-one", {**SPEC, "severity": "P9"}))
    api.put(stored("Runbook", "pack", SPEC))
    api.put(stored("Incident", "a-strange-one", {}, status={"phase": "Dreaming"}))
    api.put(stored("Incident", "pack-1", {"runbookRef": {"name": "pack"}}))
    with capture_logs() as logs:
        await app._list_all(parts, ())
    assert parts.inbox.runbook_index.names() == (("prod", "pack"),)
    assert parts.inbox.tally.open(PACK) == 1
    assert [one["name"] for one in logs if one["log_level"] == "error"] == ["a-strange-one"] * 2


async def test_a_runbook_that_was_deleted_unseen_matches_nothing_after_its_next_check() -> None:
    class Gone:
        async def check(self, _: Key) -> bool:
            return False

    index = RunbookIndex()
    index.note({"metadata": {"namespace": "prod", "name": "pack"}, "spec": SPEC})
    assert await app._checking(Gone(), index)(PACK) is None  # type: ignore[arg-type]
    assert index.matching({"alertname": "A"}) == []


@pytest.mark.usefixtures("signals_as_before")
async def test_a_second_signal_does_not_wait_for_what_is_under_way(
    parts: app.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Driver, "idle", lambda _: asyncio.sleep(3600))
    finishing = asyncio.create_task(app._finish_acts(parts))
    await asyncio.sleep(0.01)
    assert parts.ending.is_set()
    assert not finishing.done()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(finishing, 5)


async def test_the_failure_of_a_part_is_what_the_process_ends_with() -> None:
    with pytest.raises(kube.Unavailable):
        app._raise_failure([asyncio.CancelledError(), None, kube.Unavailable(0, "Down", "away", sent=False)])
