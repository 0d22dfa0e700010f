"""The HTTPS proxy between the operator and the apiserver: forwards everything, and springs the fault of a run.

Watches are streamed line by line and websockets frame by frame. Whoever calls keeps their own token; the proxy has an
authority and a certificate of its own, made when it starts.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from aiohttp import web

from proofs.faults import observer, watches
from proofs.faults.troubles import BETWEEN, LATE, STATUS_OF, Fault, Switch, resource
from tests.e2e.apiserver_proxy import hang_up

_NOT_FORWARDED = frozenset({"host", "content-length", "transfer-encoding", "connection", "keep-alive"})
_WEBSOCKET = frozenset({"upgrade", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions"})
_UNCOUNTED = frozenset({"events", "leases", "selfsubjectreviews", "selfsubjectaccessreviews", "subjectaccessreviews"})
"""Writes that change nothing which anybody relies on, or come by the clock; they are forwarded untouched."""
LATE_SECONDS = 3.0
"""Longer than the Lease of operators under test."""

_POLICIES = "/apis/admissionregistration.k8s.io/"
Act = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """Do nothing."""


@dataclass
class Plot:
    """What goes wrong in the present run of a worker, and what the proxy needs for it."""

    switch: Switch = field(default_factory=Switch)
    kill: Act = nothing
    """Ends the operator at once."""
    meddle: Act = nothing
    """Somebody else acts right before the chosen call is sent on."""
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the next process has told what became of an act that was held back."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when that act has arrived where it was sent."""
    struck: bool = False
    """Whether the process was killed and something happened before it started again; nobody answers from then on."""
    distrusts: bool = False
    """Whether the admission policies are not found."""
    watch: watches.Spoiler = field(default_factory=watches.Spoiler)


class Proxy:
    """One proxy for one worker; `plot` is changed between runs."""

    def __init__(self, server: str, upstream: ssl.SSLContext, certificate: ssl.SSLContext) -> None:
        self._server = server
        self._upstream = upstream
        self._certificate = certificate
        self._slow_until = 0.0
        self._late: asyncio.Task[None] | None = None
        self.plot = Plot()
        self.url = ""

    async def __aenter__(self) -> Self:
        connector = observer.connector(self._upstream)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        app = web.Application(client_max_size=16 * 1024**2)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._certificate).start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._runner.cleanup()
        if self._late is not None:
            self._late.cancel()
            await asyncio.gather(self._late, return_exceptions=True)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        plot = self.plot
        if request.query.get("watch") in {"true", "1"}:
            return await self._watch(request, plot)
        if plot.distrusts and request.path.startswith(_POLICIES):
            return _status(404, "NotFound", "the policy is not there", {})
        kind = _counted(request)
        if kind is None:
            return await self._uncounted(request)
        fault = plot.switch.at(kind)
        if fault is Fault.NONE:
            return await self._pass(request)
        return await self._spring(request, fault, plot)

    async def _uncounted(self, request: web.Request) -> web.StreamResponse:
        if "/leases" in request.path:
            await asyncio.sleep(max(0.0, self._slow_until - asyncio.get_running_loop().time()))
        return await self._pass(request)

    async def _spring(self, request: web.Request, fault: Fault, plot: Plot) -> web.StreamResponse:
        if fault in STATUS_OF:
            await request.read()
            return refusal(fault)
        if fault is Fault.KILL_BEFORE or fault in BETWEEN:
            await request.read()
            await plot.kill()
            return hang_up(request)
        if fault in LATE:
            await request.read()
            self._late = asyncio.create_task(self._arrive(request, plot))
            await plot.kill()
            return hang_up(request)
        match fault:
            case Fault.MEDDLED | Fault.ABORTED:
                await request.read()
                await plot.meddle()
                return await self._pass(request)
            case Fault.TWICE:
                await self._whole(request)
                return await self._pass(request)
        answer = await self._whole(request)
        if fault is Fault.KILL_AFTER:
            await plot.kill()
        if fault is Fault.REPLY_LATE:
            self._slow_until = asyncio.get_running_loop().time() + LATE_SECONDS
            await asyncio.sleep(LATE_SECONDS)
            return answer
        return hang_up(request)

    async def _arrive(self, request: web.Request, plot: Plot) -> None:
        """Send on what a process sent that is dead by now."""
        await plot.looked.wait()
        try:
            await self._whole(request)
        finally:
            plot.arrived.set()

    async def _whole(self, request: web.Request) -> web.Response:
        """Send it on and read all of the answer."""
        if _is_websocket(request):
            return await self._played_out(request)
        async with await self._send(request) as answer:
            return web.Response(status=answer.status, body=await answer.read(), headers=_kept(answer.headers))

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if _is_websocket(request):
            return await self._tunnel(request)
        if request.query.get("follow"):
            return await self._stream(request)
        return await self._whole(request)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        async with await self._send(request) as answer:
            response = web.StreamResponse(status=answer.status, headers=_kept(answer.headers))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    async def _watch(self, request: web.Request, plot: Plot) -> web.StreamResponse:
        name, _ = resource(request.path)
        if plot.watch.refuses(name):
            return gone()
        async with await self._send(request) as answer:
            response = web.StreamResponse(status=answer.status, headers=_kept(answer.headers))
            await response.prepare(request)
            try:
                async for line in watches.lines(answer.content):
                    for changed in await self.plot.watch.passing(name, line):
                        await response.write(changed)
            except watches.Cut:
                return hang_up(request)
            return response

    async def _send(self, request: web.Request) -> aiohttp.ClientResponse:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _NOT_FORWARDED}
        body = await request.read()
        timeout = aiohttp.ClientTimeout()
        url = f"{self._server}{request.raw_path}"
        return await self._session.request(request.method, url, data=body or None, headers=headers, timeout=timeout)

    async def _tunnel(self, request: web.Request) -> web.StreamResponse:
        async with self._session.ws_connect(**self._upgrade(request)) as upstream:
            downstream = web.WebSocketResponse(protocols=(upstream.protocol or "",), autoping=False)
            await downstream.prepare(request)
            back = asyncio.create_task(_relay(downstream, upstream))
            try:
                await _relay(upstream, downstream)
                await downstream.close()
            finally:
                back.cancel()
                await asyncio.gather(back, return_exceptions=True)
            return downstream

    async def _played_out(self, request: web.Request) -> web.Response:
        """Let the far end do all of it, and keep what it said."""
        async with self._session.ws_connect(**self._upgrade(request)) as upstream:
            async for _ in upstream:
                pass
        return web.Response(status=500, text="what was said is lost")

    def _upgrade(self, request: web.Request) -> dict[str, Any]:
        skipped = _NOT_FORWARDED | _WEBSOCKET | {"sec-websocket-protocol"}
        headers = {key: value for key, value in request.headers.items() if key.lower() not in skipped}
        protocols = [word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        url = f"{self._server}{request.raw_path}".replace("https:", "wss:", 1)
        return {"url": url, "headers": headers, "protocols": protocols, "max_msg_size": 0}


def refusal(fault: Fault) -> web.Response:
    """Return a refusal as the apiserver words it; nothing was applied."""
    code, reason, message = STATUS_OF[fault]
    return _status(code, reason, message, {"Retry-After": "1"} if code == 429 else {})


def gone() -> web.Response:
    """Return what a watch from too old a version is told."""
    return _status(410, "Expired", "The resourceVersion for the provided watch is too old.", {})


def _status(code: int, reason: str, message: str, headers: Mapping[str, str]) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
    text = orjson.dumps({**body, "metadata": {}, "code": code})
    return web.Response(status=code, body=text, content_type="application/json", headers=dict(headers))


def _counted(request: web.Request) -> str | None:
    """Return the kind of a call that changes something."""
    name, _ = resource(request.path)
    if _is_websocket(request):
        return f"EXEC {name}"
    if request.method in {"GET", "HEAD"} or request.query.get("dryRun") or name.partition("/")[0] in _UNCOUNTED:
        return None
    return f"{request.method} {name}"


def _is_websocket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in _NOT_FORWARDED}


async def _relay(
    source: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
    target: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)
        elif message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
