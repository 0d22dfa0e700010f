"""Fixtures of the Kubernetes clients and actions."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from crds import live
from incident_operator.actions.clients import Clients
from incident_operator.kubernetes.accounts import Cluster
from kube import calls, widget_crd, worlds
from kube.fake_apiserver import FakeApiserver


@pytest.fixture
async def api() -> AsyncIterator[FakeApiserver]:
    """The fake alone, for faults and the request log."""
    async with FakeApiserver([*worlds.KINDS, worlds.WIDGET]) as fake:
        yield fake


@pytest.fixture
async def cluster(api: FakeApiserver, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """The actions' client, of the fake alone; nothing here speaks TLS, so the system's certificates are not loaded."""
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    async with Cluster(api.access()) as fake:
        yield fake


@pytest.fixture
def clients(api: FakeApiserver, cluster: Cluster) -> Clients:
    """What actions reach the fake through."""
    return calls.clients(cluster, api.access())


@pytest.fixture(scope="session")
def widget_kind() -> Iterator[None]:
    """The tests' own kind on the real apiserver, for the whole run."""
    asyncio.run(widget_crd.install())
    yield
    asyncio.run(widget_crd.remove())


@pytest.fixture(scope="session")
def image() -> None:
    """Build and load what the Pods run."""
    source = live.CLONE / "tests" / "kube" / "image"
    build = ["build-image", "--tag", worlds.IMAGE, "--file", str(source / "Dockerfile"), "--context", str(source)]
    subprocess.run([sys.executable, "hack/cluster", *build], cwd=live.CLONE, check=True, timeout=300)


@pytest.fixture
async def fake_world() -> AsyncIterator[worlds.World]:
    """The fake as a world."""
    async with worlds.fake() as world:
        yield world


@pytest.fixture
async def real_world(widget_kind: None) -> AsyncIterator[worlds.World]:
    """A namespace of a real apiserver, deleted afterwards."""
    async with worlds.real() as world:
        yield world


@pytest.fixture(params=["fake_world", pytest.param("real_world", marks=pytest.mark.cluster)])
def world(request: pytest.FixtureRequest) -> worlds.World:
    """Each test with it runs twice: against the fake, and against a real apiserver."""
    chosen: worlds.World = request.getfixturevalue(request.param)
    return chosen
