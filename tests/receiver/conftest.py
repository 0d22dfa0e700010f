"""Fixtures of the receiver's tests."""

from collections.abc import AsyncIterator

import pytest

from receiver import world as worlds


@pytest.fixture
async def world() -> AsyncIterator[worlds.World]:
    """A receiver that knows one Runbook, before an apiserver that holds nothing."""
    async with worlds.started() as made:
        yield made
