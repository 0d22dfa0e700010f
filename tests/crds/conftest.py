"""A namespace on the real apiserver, with this checkout's CRDs in place."""

from collections.abc import AsyncIterator, Iterator

import pytest

from incident_operator.kubernetes import access
from incident_operator.kubernetes.apiserver import Kube
from tests.crds import live


@pytest.fixture(scope="session")
def namespace() -> Iterator[str]:
    """The namespace; the CRDs are as `make generate` writes them."""
    live.install()
    with live.namespace("crds") as name:
        yield name


@pytest.fixture
async def admin() -> AsyncIterator[Kube]:
    """The apiserver as its administrator meets it."""
    async with Kube(await access.load(live.kubeconfig())) as client:
        yield client
