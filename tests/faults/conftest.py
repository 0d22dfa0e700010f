"""What the sample and the tests of broken operators share: the cluster, watched, and a process that forks operators."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "hack" / "demo"), str(REPOSITORY / "hack" / "cluster")]

from faults import arena  # noqa: E402


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def opened() -> AsyncIterator[arena.Arena]:
    """What lanes stand on."""
    async with arena.opened() as made:
        yield made
