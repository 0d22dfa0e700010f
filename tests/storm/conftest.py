"""Fixtures of the storm's tests."""

import storm.places  # noqa: F401 # isort: skip
