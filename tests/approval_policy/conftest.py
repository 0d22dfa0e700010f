"""A namespace in which people with different rights meet an Incident that waits for them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from approval_policy import people
from approval_policy.ground import Ground
from crds import live


@pytest.fixture(scope="session")
def namespace() -> Iterator[str]:
    """The namespace, with policies in force and everybody's rights given."""
    live.install()
    with live.namespace("approval") as name:
        live.apply("-f", "-", stdin=people.rights(name))
        yield name


@pytest.fixture
async def ground(namespace: str, tmp_path: Path) -> AsyncIterator[Ground]:
    """Clients for everybody, and Incidents in any state."""
    async with Ground(namespace, tmp_path) as ground:
        yield ground
