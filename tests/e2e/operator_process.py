"""The operator as a process outside the cluster, with its own service account's token: started, watched, killed."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml

TOKEN = "e2e-token"  # of a door on loopback
LEASE_NAMESPACE = "incident-operator-system"  # where the chart grants it
_READY_SECONDS = 90.0


@dataclass
class OperatorProcess:
    """`incident-operator run` against an apiserver (or a proxy before it)."""

    kubeconfig: Path
    folder: Path
    namespaces: str
    port: int = 0
    health_port: int = 0
    process: asyncio.subprocess.Process | None = None
    more: Mapping[str, str] = field(default_factory=dict)
    """Further variables of its environment."""
    module: str = "incident_operator"
    """What is run in its place, where a test needs another."""

    async def start(self) -> None:
        """Start it, and wait until it says that it is ready."""
        self.port, self.health_port = free_port(), free_port()
        environment = environment_of(self.folder, self.namespaces, self.port, self.health_port)
        await self._spawn({**environment, **self.more})
        await self._until_ready()

    @property
    def log(self) -> Path:
        """Everything that it wrote, over all its lives."""
        return self.folder / "operator.log"

    async def kill(self) -> None:
        """End it as a power cut would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """End it as the kubelet would."""
        await self._end(signal.SIGTERM)

    async def restart_after_kill(self) -> None:
        """Kill it and start it anew."""
        await self.kill()
        await self.start()

    async def post(self, *alerts: dict[str, Any], **more: Any) -> tuple[int, str]:
        """Send alerts as Alertmanager does; return status and answer."""
        payload = {
            "version": "4", "groupKey": "{}", "status": "firing", "receiver": "incident-operator", "groupLabels": {},
            "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager", "truncatedAlerts": 0,
            "alerts": list(alerts), **more,
        }  # fmt: skip
        url = f"http://127.0.0.1:{self.port}/api/v1/alerts"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession() as session, session.post(url, json=payload, headers=headers) as answer:
            return answer.status, await answer.text()

    async def _spawn(self, environment: Mapping[str, str]) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self.module, "run", "--kubeconfig", str(self.kubeconfig),
                env=environment, stdout=log, stderr=log,
            )  # fmt: skip

    def _runs(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def _end(self, how: signal.Signals) -> None:
        if self.process is not None and self._runs():
            self.process.send_signal(how)
            await self.process.wait()

    async def _until_ready(self) -> None:
        async with asyncio.timeout(_READY_SECONDS), aiohttp.ClientSession() as session:
            while not await self._is_ready(session):
                await asyncio.sleep(0.1)

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        if not self._runs():
            raise RuntimeError(f"the operator ended:\n{self.log.read_text()[-3000:]}")
        try:
            async with session.get(f"http://127.0.0.1:{self.health_port}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False


def environment_of(folder: Path, namespaces: str, port: int, health_port: int) -> dict[str, str]:
    """The settings of an operator that listens on loopback."""
    token = folder / "token"
    token.write_text(TOKEN)
    return {
        "PATH": os.environ["PATH"],
        "INCIDENT_OPERATOR_TOKEN_FILES": str(token),
        "INCIDENT_OPERATOR_NAMESPACES": namespaces,
        "INCIDENT_OPERATOR_WEBHOOK_ADDRESS": "127.0.0.1",
        "INCIDENT_OPERATOR_WEBHOOK_PORT": str(port),
        "INCIDENT_OPERATOR_HEALTH_ADDRESS": "127.0.0.1",
        "INCIDENT_OPERATOR_HEALTH_PORT": str(health_port),
        "INCIDENT_OPERATOR_LOG_FORMAT": "json",
        "INCIDENT_OPERATOR_LEASE_NAMESPACE": LEASE_NAMESPACE,
        "INCIDENT_OPERATOR_LEASE_SECONDS": "2",
    }


def alert(starts_at: datetime | None = None, status: str = "firing", /, **labels: str) -> dict[str, Any]:
    """One alert of a payload."""
    moment = starts_at or datetime.now(UTC)
    ends = datetime.now(UTC) if status == "resolved" else datetime(1, 1, 1, tzinfo=UTC)
    return {
        "status": status,
        "labels": labels,
        "annotations": {"summary": "a test"},
        "startsAt": moment.isoformat(),
        "endsAt": ends.isoformat(),
        "generatorURL": "",
        "fingerprint": "",
    }


def kubeconfig(path: Path, server: str, token: str, authority: str = "") -> Path:
    """Write a kubeconfig for a bearer token."""
    cluster = {"server": server} | ({"certificate-authority-data": authority} if authority else {})
    content = {
        "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
        "clusters": [{"name": "e2e", "cluster": cluster}],
        "users": [{"name": "e2e", "user": {"token": token}}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e", "namespace": "default"}}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content))
    return path


def free_port() -> int:
    """Return a port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
