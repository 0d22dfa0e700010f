"""What all tests share: hypothesis without deadlines, and which tests of the cluster want it for themselves."""

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

_ALONE = {"e2e", "approval_policy"}
"""Folders whose tests use the installed policies, or take them away for a moment."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what may run beside the other tests of the cluster, but not beside its own kind."""
    if item.path.parent.name in _ALONE:
        item.add_marker(pytest.mark.alone)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those tests come last that look back on what the others did."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)
