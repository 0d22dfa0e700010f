"""Fixtures of the siege's tests."""

import siege.places  # noqa: F401 # isort: skip
