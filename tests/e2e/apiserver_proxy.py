"""A proxy before the apiserver, on loopback: forwards everything, and can hold a chosen request where a test says.

The operator under test speaks to it instead of the apiserver, so that a test can stop the world right before a write
is applied, or right after it is applied and before the operator learns of it, and kill the operator there.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from aiohttp import web

Match = Callable[["Write"], bool]
_NOT_FORWARDED = {"host", "content-length", "transfer-encoding", "connection", "content-encoding"}


@dataclass(frozen=True, slots=True)
class Write:
    """A request that changes something."""

    method: str
    path: str
    body: Any

    @property
    def status(self) -> dict[str, Any]:
        """The Incident status that it writes; empty for other requests."""
        if not isinstance(self.body, list):
            return {}
        return next((op["value"] for op in self.body if op.get("path") == "/status"), {})

    def step(self, name: str) -> str:
        """The state that it writes for a step; empty where it writes none."""
        return next((step["state"] for step in self.status.get("steps", []) if step["name"] == name), "")


@dataclass
class Hold:
    """Stops the first request that matches, before it is forwarded or after, until the test goes on."""

    match: Match
    applied: bool
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)


class ApiserverProxy:
    """Forwards to an apiserver, with the caller's own credentials."""

    def __init__(self, server: str, tls: ssl.SSLContext) -> None:
        self._server = server
        self._tls = tls
        self._holds: list[Hold] = []
        self._under_way: set[asyncio.Task[Any]] = set()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0, enable_cleanup_closed=True), auto_decompress=False
        )
        app = web.Application(client_max_size=16 * 1024**2)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for hold in self._holds:
            hold.released.set()
        # first, because this cuts off what still runs; a TLS goodbye to a watch takes longer than the test's loop lives
        await self._session.close()
        await self._runner.cleanup()
        # those whose client was killed are nobody's any more, and nothing would ever end them
        left = [task for task in self._under_way if task.cancel()]
        await asyncio.gather(*left, return_exceptions=True)

    def hold(self, match: Match, *, applied: bool) -> Hold:
        """Hold the next write that matches."""
        made = Hold(match, applied)
        self._holds.append(made)
        return made

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            return await self._forward(request)
        except aiohttp.ClientError:
            return hang_up(request)  # one side is gone, so the other loses its connection too
        finally:
            self._under_way.discard(task)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        hold = self._matching(request, body)
        if hold is not None and not hold.applied:
            return await _gone(hold)
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _NOT_FORWARDED}
        async with self._session.request(
            request.method,
            f"{self._server}{request.raw_path}",
            data=body or None,
            headers=headers,
            timeout=aiohttp.ClientTimeout(),
        ) as answer:
            if hold is not None:
                await answer.read()
                return await _gone(hold)
            try:
                return await _stream(request, answer)
            finally:
                _cut_off(answer)

    def _matching(self, request: web.Request, body: bytes) -> Hold | None:
        if request.method == "GET" or request.query.get("dryRun"):
            return None
        write = Write(request.method, request.path, orjson.loads(body) if body else None)
        for hold in self._holds:
            if not hold.reached.is_set() and hold.match(write):
                return hold
        return None


async def _gone(hold: Hold) -> web.Response:
    hold.reached.set()
    await hold.released.wait()
    return web.Response(status=503, text="held by the test")


def hang_up(request: web.Request) -> web.Response:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)


def _cut_off(answer: aiohttp.ClientResponse) -> None:
    """End what was not read to its end: a TLS goodbye waits for the apiserver, and nobody waits for it."""
    connection = answer.connection
    if connection is not None and connection.transport is not None and not answer.content.at_eof():
        connection.transport.abort()


async def _stream(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    kept = {
        key: value for key, value in answer.headers.items() if key.lower() not in _NOT_FORWARDED - {"content-encoding"}
    }
    response = web.StreamResponse(status=answer.status, headers=kept)
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response
