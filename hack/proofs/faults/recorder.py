"""A service on loopback that carries out requests and writes down each that it did: a witness that nobody can talk to.

`POST /keyed` honours `Idempotency-Key`; `/unkeyed` and `/probed` carry out whatever comes; `GET /done?run=R` tells how often
`/probed` was carried out for a run.
"""

import asyncio
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiohttp import web

from proofs.faults.apiserver import LATE_SECONDS, Plot
from proofs.faults.troubles import BETWEEN, LATE, STATUS_OF, Fault
from tests.e2e.apiserver_proxy import hang_up


@dataclass(frozen=True, slots=True)
class Done:
    """One request that was carried out."""

    path: str
    run: str
    key: str
    at: float


class Recorder:
    """The service of one worker."""

    def __init__(self) -> None:
        self.plot = Plot()
        self.done: list[Done] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/healthz", self._healthy)
        app.router.add_get("/done", self._count)
        app.router.add_post("/{path:keyed|unkeyed|probed}", self._post)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def of(self, run: str, path: str) -> list[Done]:
        """What was carried out for a run."""
        return [each for each in self.done if (each.run, each.path) == (run, path)]

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _count(self, request: web.Request) -> web.Response:
        return web.json_response({"count": len(self.of(request.query["run"], "/probed"))})

    async def _post(self, request: web.Request) -> web.Response:
        fault = self.plot.switch.at(f"POST {request.path}")
        run = (await request.json())["run"]
        if fault in STATUS_OF:
            return web.Response(status=STATUS_OF[fault][0], headers={"Retry-After": "1"})
        plot = self.plot
        if fault is Fault.KILL_BEFORE or fault in BETWEEN:
            await plot.kill()
            return hang_up(request)
        if fault in LATE:
            await plot.kill()
            await plot.looked.wait()
        self._carry_out(request, run)
        if fault in LATE:
            plot.arrived.set()
            return hang_up(request)
        match fault:
            case Fault.KILL_AFTER:
                await self.plot.kill()
                return hang_up(request)
            case Fault.REPLY_LOST:
                return hang_up(request)
            case Fault.REPLY_LATE:
                await asyncio.sleep(LATE_SECONDS)
        return web.json_response({"carriedOut": True})

    def _carry_out(self, request: web.Request, run: str) -> None:
        key = request.headers.get("Idempotency-Key", "")
        if request.path == "/keyed" and any(key == each.key for each in self.of(run, "/keyed")):
            return
        self.done.append(Done(request.path, run, key, time.time()))
