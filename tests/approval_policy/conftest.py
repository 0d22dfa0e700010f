"""A namespace in which people with different rights meet an Incident that waits for them."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from incident_operator.api.incident import Verb
from tests.approval_policy import people
from tests.approval_policy.scenario import Scenario
from tests.crds import live, objects

IN_FORCE_SECONDS = 10.0


@pytest.fixture(scope="session")
def namespace() -> Iterator[str]:
    """The namespace, with policies in force and everybody's rights given."""
    live.install()
    with live.namespace("approval") as name:
        live.apply("-f", "-", stdin=people.rights(name))
        _wait_until_in_force(name)
        yield name


@pytest.fixture
async def scenario(namespace: str, tmp_path: Path) -> AsyncIterator[Scenario]:
    """Clients for everybody, and Incidents in any state."""
    async with Scenario(namespace, tmp_path) as scenario:
        yield scenario


def _wait_until_in_force(namespace: str) -> None:
    """The apiserver enforces a new policy within a second or so: wait until it refuses a forgery."""
    document = objects.incident()
    document["metadata"]["annotations"] = {Verb.APPROVE.annotation: "forged"}
    deadline = time.monotonic() + IN_FORCE_SECONDS
    while live.kubectl("create", "-n", namespace, "--dry-run=server", "-f", "-", stdin=document).returncode == 0:
        assert time.monotonic() < deadline, f"a forged answer is still accepted after {IN_FORCE_SECONDS:.0f}s"
        time.sleep(0.1)
