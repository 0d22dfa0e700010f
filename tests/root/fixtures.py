"""What every test of the shell needs: an apiserver with a kubeconfig, and logging put back afterwards."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml

from incident_operator.api.meta import ObjectKey
from incident_operator.engine.executor import InFlight
from incident_operator.engine.leader_election import LeaderCallbacks, LeaderElector, LeaseConfig
from incident_operator.engine.metrics import IncidentCounts
from incident_operator.engine.recorder import Expectations
from incident_operator.engine.work_queue import WorkQueue
from incident_operator.informers import Inbox, IncidentInformer, RunbookInformer
from incident_operator.kubernetes import apiserver
from incident_operator.kubernetes.apiserver import Reads
from incident_operator.kubernetes.discovery import EVERYWHERE
from incident_operator.process import Parts
from incident_operator.receiver.index import IncidentIndex
from incident_operator.receiver.routing import RunbookIndex
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_routes import Request


class Apiserver(FakeApiserver):
    """One that tells who asks, too, and what they may do."""

    writable_everywhere = True
    """Whether whoever asks may create Incidents in all namespaces."""

    def _serve(self, request: Request) -> Any:
        if request.path.endswith("/selfsubjectreviews"):
            return {"status": {"userInfo": {"username": "operator"}}}
        if request.path.endswith("/selfsubjectaccessreviews"):
            return {"status": {"allowed": self.writable_everywhere}}
        return super()._serve(request)


@pytest.fixture
async def api() -> AsyncIterator[FakeApiserver]:
    async with Apiserver() as made:
        yield made


@pytest.fixture
def kubeconfig(api: FakeApiserver, tmp_path: Path) -> str:
    return str(written(tmp_path / "kubeconfig", api.access().server))


@pytest.fixture
async def parts(api: FakeApiserver) -> AsyncIterator[Parts]:
    """What runs, with nothing to do."""
    leadership = LeaderCallbacks()
    leadership.queues += (WorkQueue(_nothing, _now, paused=True), WorkQueue(_nothing, _now, paused=True))
    inbox = Inbox(*leadership.queues, IncidentIndex(), RunbookIndex(), IncidentCounts(), Expectations())
    async with apiserver.Kube(api.access()) as client, Reads(api.access()) as reads:
        elector = LeaderElector(client, LeaseConfig("prod", "incident-operator", 15, "one"), _now, leadership)
        informers = (
            RunbookInformer(reads, inbox, EVERYWHERE),
            IncidentInformer(client, reads, inbox, EVERYWHERE, _now),
        )
        yield Parts(inbox, *informers, api.access(), client, asyncio.Event(), elector, InFlight())


async def _nothing(_: ObjectKey) -> datetime | None:
    return None


def _now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def written(path: Path, server: str) -> Path:
    named = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "prod"}}],
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {}}],
    }
    path.write_text(yaml.safe_dump(named))
    return path
