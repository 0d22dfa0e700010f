"""Runbooks are read again now and then: a watch that fell silent leaves no alert unmatched for long."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from incident_operator.clients import paths
from incident_operator.process import Parts
from incident_operator.relisting import Relisting
from kube.fake_apiserver import FakeApiserver
from kube.fake_faults import Fault
from shell.test_app import SPEC, stored

NAMES = [f'alertname="{letter}"' for letter in "AB"]


def put(api: FakeApiserver, name: str, match: str, namespace: str = "prod") -> None:
    made = stored("Runbook", name, {**SPEC, "match": [match]})
    api.put({**made, "metadata": {**made["metadata"], "namespace": namespace}})


def matched(parts: Parts, **labels: str) -> list[str]:
    return [candidate.name for candidate in parts.inbox.runbook_index.matching(labels)]


def relisting(parts: Parts, *namespaces: str, pause: float = 60.0) -> Relisting:
    return Relisting(parts.client, parts.inbox, namespaces, pause)


async def test_what_came_changed_and_went_unseen_is_found(api: FakeApiserver, parts: Parts) -> None:
    put(api, "changes", NAMES[0])
    put(api, "goes", NAMES[0])
    await relisting(parts).once()
    assert matched(parts, alertname="A") == ["changes", "goes"]
    put(api, "changes", NAMES[1])
    put(api, "comes", NAMES[1])
    api.remove(paths.runbooks("prod", "goes"))
    await relisting(parts).once()
    assert matched(parts, alertname="A") == []
    assert matched(parts, alertname="B") == ["changes", "comes"]


async def test_one_that_the_watch_told_of_while_the_list_was_read_is_kept(api: FakeApiserver, parts: Parts) -> None:
    put(api, "listed", NAMES[0])

    def comes() -> None:
        parts.inbox.runbook({**stored("Runbook", "told", SPEC), **_newest()})

    api.interleave(comes, method="GET", path="/runbooks")
    await relisting(parts).once()
    assert {key.name for key in parts.inbox.known_runbooks} == {"listed", "told"}


async def test_only_what_is_served_is_read(api: FakeApiserver, parts: Parts) -> None:
    put(api, "here", NAMES[0])
    put(api, "there", NAMES[0], namespace="other")
    await relisting(parts, "prod").once()
    assert matched(parts, alertname="A") == ["here"]


async def test_it_goes_on_though_the_apiserver_is_away(
    api: FakeApiserver, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(api, "pack", NAMES[0])
    api.inject(Fault.GONE, path="/runbooks")
    with capture_logs() as logs:
        reading = asyncio.create_task(relisting(parts, pause=0.01).run())
        for _ in range(300):
            if matched(parts, alertname="A"):
                break
            await asyncio.sleep(0.01)
        reading.cancel()
    assert matched(parts, alertname="A") == ["pack"]
    assert "Runbooks cannot be read again" in [one["event"] for one in logs]


def _newest() -> dict[str, Any]:
    meta = {"name": "told", "namespace": "prod", "resourceVersion": "999999", "uid": "u", "generation": 1}
    return {"metadata": meta}
