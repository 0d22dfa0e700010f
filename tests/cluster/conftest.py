"""Makes the cluster program importable. It is a program under hack/, not an installed package."""

import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "hack" / "cluster"
sys.path.insert(0, str(PROGRAM))

from devcluster import settings  # noqa: E402


@pytest.fixture
def config(tmp_path):
    """Instance 3 of a clone that is not there."""
    return settings.Settings(clone=tmp_path / "clone", instance=3, cache=tmp_path / "cache")
