"""What all tests share: hypothesis without deadlines, and who may use the cluster beside whom."""

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

_ALONE = {"e2e", "approval_policy"}
"""Folders whose tests use the installed policies, or take them away for a moment: never beside each other."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the real cluster into two groups, one worker each (`-n 2 --dist loadgroup`).

    Those that look back on what others did come last.
    """
    for item in items:
        if item.get_closest_marker("cluster") is not None:
            group = "policies" if item.path.parent.name in _ALONE else "cluster"
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)
