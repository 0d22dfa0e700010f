"""Fixtures of the receiver's tests."""

from collections.abc import AsyncIterator

import pytest

from tests.receiver import receiver_setup


@pytest.fixture
async def receivers() -> AsyncIterator[receiver_setup.Receivers]:
    """A receiver that knows one Runbook, before an apiserver that holds nothing."""
    async with receiver_setup.started() as made:
        yield made
