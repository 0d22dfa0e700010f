"""What all tests share: hypothesis without deadlines, and which tests come last."""

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those tests come last that look back on what the others did."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)
