"""The real Alertmanager: its webhook and its API tell of the same alerts, and what it mutes is not read."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from incident_operator.api.connection import Connection, ConnectionSpec
from incident_operator.clients.connections import Connections, ProbeError, Probes
from incident_operator.clients.prometheus import Prometheus
from incident_operator.clients.sql import Sessions
from incident_operator.connections import Endpoint
from incident_operator.receiver import server
from incident_operator.receiver.auth import TokenFiles, Tokens
from incident_operator.receiver.polling import AlertmanagerPoll
from incident_operator.receiver.server import ReceiverSettings
from tests.actions.sql.endpoints import Here
from tests.examples import debian_programs
from tests.receiver import messages, receiver_setup
from tests.receiver.receiver_setup import Receivers

TOKEN = "the-token"


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> list[str]:
    directory = tmp_path_factory.mktemp("programs")
    found = debian_programs.program("prometheus-alertmanager", directory)
    return debian_programs.with_files([found], "prometheus/alertmanager", directory)


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """One that runs, and whose webhook posts to a receiver."""

    url: str
    http: aiohttp.ClientSession

    async def post(self, what: str, body: Any) -> None:
        async with self.http.post(f"{self.url}/api/v2/{what}", json=body) as response:
            assert response.status == 200, await response.text()

    async def fire(self, starts: str, *names: str) -> None:
        await self.post("alerts", [{"labels": {"alertname": "PackFailed", "pack_date": name}, "startsAt": starts}
                                   for name in names])  # fmt: skip

    async def silence(self, name: str) -> None:
        now = datetime.now(UTC)
        matcher = {"name": "pack_date", "value": name, "isRegex": False, "isEqual": True}
        until = {"startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat()}
        await self.post("silences", {"matchers": [matcher], **until, "createdBy": "test", "comment": "test"})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def config(webhook: str) -> dict[str, Any]:
    posts = {"url": webhook, "http_config": {"authorization": {"credentials": TOKEN}}, "send_resolved": True}
    route = {"receiver": "quiet", "group_by": ["pack_date"], "group_wait": "0s", "group_interval": "1s"}
    sent = {"receiver": "incident-operator", "matchers": ['pack_date=~"sent.*"'], "continue": True}
    return {
        "route": {**route, "routes": [sent, {"receiver": "quiet"}]},
        "receivers": [{"name": "quiet"}, {"name": "incident-operator", "webhook_configs": [posts]}],
    }


@asynccontextmanager
async def running(program: list[str], directory: Path, webhook: str) -> AsyncIterator[Alertmanager]:
    file, port = directory / "alertmanager.yml", free_port()
    file.write_text(yaml.safe_dump(config(webhook)))
    words = [f"--config.file={file}", f"--storage.path={directory}/data", "--cluster.listen-address="]
    process = await asyncio.create_subprocess_exec(
        *program, *words, f"--web.listen-address=127.0.0.1:{port}", stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with aiohttp.ClientSession() as http:
            made = Alertmanager(f"http://127.0.0.1:{port}", http)
            await until_ready(made)
            yield made
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def until_ready(found: Alertmanager) -> None:
    for _ in range(150):
        try:
            async with found.http.get(f"{found.url}/-/ready") as response:
                if response.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)
    raise AssertionError("Alertmanager did not start")


@asynccontextmanager
async def opened(receivers: Receivers, tokens: Path) -> AsyncIterator[str]:
    """Open the receivers' handler, and yield the address for Alertmanager's webhook."""
    tokens.write_text(TOKEN)
    chosen = ReceiverSettings(host="127.0.0.1", port=0)
    admitted, one = Tokens(TokenFiles([tokens])), receivers.one
    handler = server.WebhookHandler(chosen, one.intake, (one.incidents, one.runbooks), one.metrics, admitted)
    async with server.serving(handler, chosen) as port:
        yield f"http://127.0.0.1:{port}/api/v1/alerts"


async def reread(receivers: Receivers, url: str, **fields: str) -> None:
    meta = {"name": "alerts", "namespace": "prod"}
    spec = {"type": "alertmanager", "alertmanager": {"url": url, **fields}}
    receivers.api.put({"apiVersion": "incidents.dev/v1alpha1", "kind": "Connection", "metadata": meta, "spec": spec})
    kube = receivers.one.kube
    connections = Connections(kube)
    await AlertmanagerPoll(kube, connections, receivers.one.intake, messages.LIMITS, lambda: datetime.now(UTC)).once()


def dates(receivers: Receivers) -> list[str]:
    return sorted(incident["spec"]["group"]["pack_date"] for incident in receivers.incidents())


async def test_alerts_that_were_lost_are_found_and_those_that_arrived_are_recognised(program, tmp_path):
    async with (
        receiver_setup.started() as receivers,
        opened(receivers, tmp_path / "token") as webhook,
        running(program, tmp_path, webhook) as found,
    ):
        starts = (datetime.now(UTC) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S.123999999Z")
        await found.fire(starts, "sent 1", "sent 2", "not sent", "silenced")
        await found.silence("silenced")
        for _ in range(300):
            if len(receivers.incidents()) >= 2:
                break
            await asyncio.sleep(0.1)
        assert dates(receivers) == ["sent 1", "sent 2"]
        before = list(receivers.incidents())
        await reread(receivers, found.url, receiver="incident-operator")
        assert receivers.incidents() == before, "the API tells of the same alerts as the webhook"
        await reread(receivers, found.url)
        assert dates(receivers) == ["not sent", "sent 1", "sent 2"], "those that fire, but for the silenced one"
        restarted = receivers.another()
        await reread(Receivers(receivers.api, restarted), found.url)
        assert all(len(incident["spec"]["alerts"]) == 1 for incident in receivers.incidents())
        assert len(receivers.incidents()) == 3


async def test_a_probe_says_whether_an_alertmanager_is_there(program, tmp_path):
    prometheus = Prometheus()
    probes = Probes(Here(Sessions()), prometheus)
    async with running(program, tmp_path, "http://127.0.0.1:1/") as found:
        assert await probes.probe(endpoint(found.url)) is None
        nothing = f"{found.url}/elsewhere"
        told = f"{nothing}: GET /api/v2/status was answered with 404"
        assert await probes.probe(endpoint(nothing)) == ProbeError(told)
    assert await probes.probe(endpoint(found.url)) == ProbeError(f"{found.url}: Connection refused")
    prometheus.close()


def endpoint(url: str) -> Endpoint:
    spec = ConnectionSpec.model_validate({"type": "alertmanager", "alertmanager": {"url": url}})
    return Endpoint(Connection(spec=spec), {}, "1/1")
