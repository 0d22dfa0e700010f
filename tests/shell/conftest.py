"""What every test of the shell needs: an apiserver with a kubeconfig, and logging put back afterwards."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml

from kube.fake_apiserver import FakeApiserver
from kube.fake_routes import Request


class Apiserver(FakeApiserver):
    """One that tells who asks, too."""

    def _serve(self, request: Request) -> Any:
        if request.path.endswith("/selfsubjectreviews"):
            return {"status": {"userInfo": {"username": "operator"}}}
        return super()._serve(request)


@pytest.fixture
async def api() -> AsyncIterator[FakeApiserver]:
    async with Apiserver() as made:
        yield made


@pytest.fixture
def kubeconfig(api: FakeApiserver, tmp_path: Path) -> str:
    return str(written(tmp_path / "kubeconfig", api.access().server))


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def written(path: Path, server: str) -> Path:
    named = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "prod"}}],
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {}}],
    }
    path.write_text(yaml.safe_dump(named))
    return path
