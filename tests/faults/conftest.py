"""What the sample and the tests of broken operators share: the cluster, watched, and lanes that are played side by side."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "hack" / "demo"), str(REPOSITORY / "hack" / "cluster")]

from faults import arena, shortlist  # noqa: E402


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playing() -> AsyncIterator[shortlist.Playing]:
    """Everything on the short list, begun with the first test; each test waits for its own part."""
    async with arena.opened() as made, shortlist.playing(made) as begun:
        yield begun
