"""Which namespaces are served: the listed ones, all where the account may write in all, else none, which is told and no failure."""

import asyncio
import os
import signal
from dataclasses import replace
from typing import Any

import kopf
import pytest
import structlog
from structlog.testing import capture_logs

from incident_operator import app, process
from incident_operator.core.redactor import Redactor
from incident_operator.informers import IncidentInformer, RunbookInformer
from incident_operator.kubernetes import apiserver
from incident_operator.kubernetes.apiserver import Reads
from incident_operator.kubernetes.discovery import EVERYWHERE, Scopes, served
from incident_operator.process import Parts
from incident_operator.settings import Settings
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.reflecting import until

KINDS = ("/runbooks", "/incidents", "/connections")


async def test_listed_namespaces_are_served_and_nobody_is_asked(api: FakeApiserver) -> None:
    async with apiserver.Kube(api.access()) as client:
        assert await served(client, ("prod", "shop")) == ("prod", "shop")
    assert api.requests == []


@pytest.mark.parametrize(("allowed", "found"), [(True, EVERYWHERE), (False, ())])
async def test_without_a_list_all_are_served_where_the_account_may_write_in_all(
    api: Any, allowed: bool, found: Scopes
) -> None:
    api.writable_everywhere = allowed
    async with apiserver.Kube(api.access()) as client:
        assert await served(client, ()) == found
    (asked,) = api.requests
    wanted = {"group": "incidents.dev", "resource": "incidents", "verb": "create"}
    assert asked.body["spec"]["resourceAttributes"] == wanted


async def test_an_operator_that_serves_nobody_says_so_reads_nothing_and_is_ready(
    api: Any, kubeconfig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.writable_everywhere = False
    monkeypatch.setattr(app, "_log", structlog.get_logger())  # one that another test configured would not be captured
    settings = Settings(
        kubeconfig=kubeconfig, health_address="127.0.0.1", health_port=0, unmatched_namespace="prod", log_format="json"
    )
    with capture_logs() as logs:
        async with app._built(settings, Redactor()) as parts:
            await app._list_all(parts)
            assert parts.namespaces == ()
            assert parts.inbox.incident_index.ready
            assert parts.inbox.runbook_index.ready
    assert not [one.path for one in api.requests if one.path.endswith(KINDS)]
    (told,) = [one for one in logs if one["event"].startswith("No namespace is served")]
    assert "`namespaces` of the chart" in told["remedy"]


async def test_an_operator_that_serves_nobody_runs_until_it_is_told_to_stop(
    api: FakeApiserver, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def spawn(**_: object) -> None:
        raise AssertionError("kopf has nothing to watch")

    monkeypatch.setattr(kopf, "spawn_tasks", spawn)
    async with Reads(api.access()) as reads:
        nobody = replace(
            parts,
            namespaces=(),
            runbook_informer=RunbookInformer(reads, parts.inbox, ()),
            incident_informer=IncidentInformer(parts.client, reads, parts.inbox, (), app.clock),
        )
        running = asyncio.create_task(process.run(nobody, Settings()))
        await until(parts.elector.may_act)
        assert not running.done()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(running, 5)
