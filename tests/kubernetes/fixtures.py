"""Fixtures of the Kubernetes clients and actions."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from incident_operator.actions.clients import Clients
from incident_operator.kubernetes.accounts import Cluster
from tests.actions import calls
from tests.crds import live
from tests.kubernetes import apiservers, widget_crd
from tests.kubernetes.fake_apiserver import FakeApiserver


@pytest.fixture
async def api() -> AsyncIterator[FakeApiserver]:
    """The fake alone, for faults and the request log."""
    async with FakeApiserver([*apiservers.KINDS, apiservers.WIDGET]) as fake:
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
    source = live.CLONE / "tests" / "kubernetes" / "image"
    build = ["build-image", "--tag", apiservers.IMAGE, "--file", str(source / "Dockerfile"), "--context", str(source)]
    subprocess.run([sys.executable, "hack/cluster", *build], cwd=live.CLONE, check=True, timeout=300)


@pytest.fixture
async def on_the_fake() -> AsyncIterator[apiservers.Apiserver]:
    """The fake."""
    async with apiservers.fake() as apiserver:
        yield apiserver


@pytest.fixture
async def on_a_real_one(widget_kind: None) -> AsyncIterator[apiservers.Apiserver]:
    """A namespace of a real apiserver, deleted afterwards."""
    async with apiservers.real() as apiserver:
        yield apiserver


@pytest.fixture(params=["on_the_fake", pytest.param("on_a_real_one", marks=pytest.mark.cluster)])
def apiserver(request: pytest.FixtureRequest) -> apiservers.Apiserver:
    """Each test with it runs twice: against the fake, and against a real apiserver."""
    chosen: apiservers.Apiserver = request.getfixturevalue(request.param)
    return chosen
