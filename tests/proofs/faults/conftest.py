"""What the sample and the tests of broken operators share: the cluster, watched, and workers that are played side by side."""

from collections.abc import AsyncIterator

import pytest_asyncio

from proofs.faults import rig, shortlist


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playing() -> AsyncIterator[shortlist.Playing]:
    """Everything on the short list, begun with the first test; each test waits for its own part."""
    async with rig.opened() as made, shortlist.playing(made) as begun:
        yield begun
