"""The load generator's messages are the real Alertmanager's, field by field."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from proofs.storm import debian_alertmanager
from proofs.storm.alerts import Alert, fingerprint, message, rfc3339
from proofs.storm.many_alerts import now
from tests.e2e.operator_process import TOKEN, free_port

GROUP = {"instance": 'a"\\ü'}
GROUP_WAIT = "7s"  # longer ago than the alerts began, so that one message has them all


def alerts() -> list[Alert]:
    began = now() - timedelta(seconds=2)
    common = {"alertname": "Shape", **GROUP, "job": "node"}
    told = {"summary": "it <b>fails</b> & more", "description": "ü🙂"}
    firing = [
        Alert({**common, "disk": disk}, began, annotations=told, generator_url="http://p/?a=1&b=2") for disk in "ab"
    ]
    return [*firing, Alert({**common, "disk": "c"}, began, began + timedelta(seconds=1.25), told)]


def test_a_moment_is_written_as_go_writes_it():
    moment = now().replace(microsecond=120_000)
    assert rfc3339(moment).endswith(".12Z")
    assert rfc3339(moment.replace(microsecond=0))[-4] == ":"


def test_a_fingerprint_depends_on_names_and_values_but_not_on_their_order():
    assert fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"})
    assert fingerprint({"a": "1", "b": "2"}) != fingerprint({"a": "2", "b": "1"})


@pytest.mark.cluster
async def test_a_message_is_the_same_as_the_real_alertmanagers(tmp_path):
    words = await asyncio.to_thread(debian_alertmanager.command, tmp_path / "programs")
    received: asyncio.Queue[tuple[Any, Any]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        received.put_nowait((dict(request.headers), json.loads(await request.read())))
        return web.Response()

    port = free_port()
    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with debian_alertmanager.running(words, tmp_path / "am", port, "instance", GROUP_WAIT) as alertmanager:
            made = alerts()
            await alertmanager.post(made)
            headers, real = await asyncio.wait_for(received.get(), 30)
    finally:
        await runner.cleanup()
    mine = message(made, GROUP)
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["User-Agent"].startswith("Alertmanager/")
    assert real.pop("externalURL").startswith("http://")
    mine.pop("externalURL")
    assert list(real) == list(mine)
    assert {**real, "alerts": sorted(real["alerts"], key=str)} == {**mine, "alerts": sorted(mine["alerts"], key=str)}
