"""Liveness, readiness and metrics over HTTP, telling the truth: ready only when alerts can be judged and stored.

Beside the series of engine and receiver, the process tells of itself: processor time, memory, files, garbage, which build it is, and how
its helper processes fare.
"""

import importlib.metadata
import platform
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from incident_operator.clients.helper_process import Cause, Counts

_HELPERS = ("expressions", "queries")


def registry() -> CollectorRegistry:
    """Return a registry with the series that dashboards expect of every process; none has a twin that tells when it was made."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    GCCollector(registry=made)
    PlatformCollector(registry=made)
    build = Info("incident_operator_build", "Which build this is; always 1.", registry=made)
    build.info({"version": importlib.metadata.version("incident-operator"), "python": platform.python_version()})
    return made


class HelperMetrics(Counts):
    """How the helper processes fare; every series is there from the start, so that the first death is a rise."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._starts = Counter(
            "incident_operator_helper_starts", "Helper processes started.", ["helper"], registry=registry
        )
        self._deaths = Counter(
            "incident_operator_helper_deaths",
            "Helper processes that ended although the operator did not stop them.",
            ["helper", "cause"],
            registry=registry,
        )
        for helper in _HELPERS:
            self._starts.labels(helper)
            for cause in Cause:
                self._deaths.labels(helper, cause.value)

    def started(self, part: str) -> None:
        """Count a helper that was started."""
        self._starts.labels(part).inc()

    def died(self, part: str, cause: Cause) -> None:
        """Count a helper that ended although the operator did not stop it."""
        self._deaths.labels(part, cause.value).inc()


Handler = Callable[[web.Request], Awaitable[web.Response]]
Check = Callable[[], str]
"""Returns why something is not as it should be; empty where it is."""


@asynccontextmanager
async def serving(
    address: str, port: int, registry: CollectorRegistry, alive: Check, ready: Check
) -> AsyncIterator[int]:
    """Serve `/healthz`, `/readyz` and `/metrics` for the block's time and yield the port."""
    app = web.Application()
    app.router.add_get("/healthz", _answering(alive))
    app.router.add_get("/readyz", _answering(ready))
    app.router.add_get("/metrics", _metrics(registry))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _answering(check: Check) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        problem = check()
        return web.Response(status=503 if problem else 200, text=problem or "ok")

    return answer


def _metrics(registry: CollectorRegistry) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4"})

    return answer
