"""A real HTTP service on loopback that remembers what it was asked."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass
class Service:
    """What came in, and what to answer."""

    url: str = ""
    seen: list[web.BaseRequest] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answer: web.Response = field(default_factory=lambda: web.json_response({"ok": True}))

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.seen.append(request)
        self.bodies.append(await request.read())
        return self.answer


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.handle)
    async with TestServer(app) as server:
        made.url = str(server.make_url("")).rstrip("/")
        yield made
