"""Liveness and readiness answer what is so at that moment."""

import aiohttp
from prometheus_client import CollectorRegistry

from incident_operator import health


async def test_each_answers_503_with_the_reason_while_something_is_wrong() -> None:
    wrong = {"alive": "", "ready": "still reading"}
    checks = (lambda: wrong["alive"], lambda: wrong["ready"])
    async with (
        health.serving("127.0.0.1", 0, CollectorRegistry(), *checks) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
    ):

        async def answer(path: str) -> tuple[int, str]:
            async with http.get(path) as response:
                return response.status, await response.text()

        assert await answer("/healthz") == (200, "ok")
        assert await answer("/readyz") == (503, "still reading")
        wrong["ready"], wrong["alive"] = "", "the engine is stuck"
        assert await answer("/readyz") == (200, "ok")
        assert await answer("/healthz") == (503, "the engine is stuck")
        assert (await answer("/metrics"))[0] == 200
