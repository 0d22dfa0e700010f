"""What tests of the field share: the image that their Pods run, and a namespace for each."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.crds import live
from tests.kubernetes import apiservers


@pytest.fixture(scope="session")
def image() -> str:
    """The image that Pods run, built and loaded; where the cluster has it already that takes a second."""
    source = live.CLONE / "tests" / "kubernetes" / "image"
    build = ["build-image", "--tag", apiservers.IMAGE, "--file", str(source / "Dockerfile"), "--context", str(source)]
    subprocess.run([sys.executable, "hack/cluster", *build], cwd=live.CLONE, check=True, timeout=300)
    return apiservers.IMAGE


@pytest.fixture
def namespace() -> Iterator[str]:
    """A namespace of its own, deleted afterwards."""
    with live.namespace("field") as name:
        yield name
