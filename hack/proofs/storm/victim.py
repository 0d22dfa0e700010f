"""The operator as a real process that is really killed: same port over all its lives, restarted by a fork."""

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.e2e.operator_process import environment_of, free_port

_READY_SECONDS = 120.0


class Forks:
    """The process that forks operators; use it with `async with`."""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("forks.py")),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._lock = asyncio.Lock()
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def order(self, **command: Any) -> dict[str, int]:
        """Have a command done, and return its answer."""
        async with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            answer: dict[str, int] = json.loads(await self._process.stdout.readline())
            return answer


@dataclass
class Victim:
    """`incident-operator run`, over many lives."""

    forks: Forks
    kubeconfig: Path
    folder: Path
    namespace: str
    lease_seconds: int = 2
    pid: int = 0
    kills: int = 0

    def __post_init__(self) -> None:
        self.port, self.health_port = free_port(), free_port()

    @property
    def log(self) -> Path:
        """Everything that it wrote, over all its lives."""
        return self.folder / "operator.log"

    async def start(self) -> None:
        """Begin a life."""
        environment = environment_of(self.folder, self.namespace, self.port, self.health_port) | {
            "INCIDENT_OPERATOR_LEASE_NAMESPACE": self.namespace,
            "INCIDENT_OPERATOR_LEASE_SECONDS": str(self.lease_seconds),
        }
        words = ["run", "--kubeconfig", str(self.kubeconfig)]
        self.pid = (await self.forks.order(run=words, environment=environment, log=str(self.log)))["pid"]

    async def kill(self) -> None:
        """End it as a power cut would. Raises where it was dead already: it crashed."""
        pid, self.pid = self.pid, 0
        os.kill(pid, signal.SIGKILL)
        status = (await self.forks.order(reap=pid))["status"]
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            raise RuntimeError(f"the operator ended by itself with {os.waitstatus_to_exitcode(status)}; {self.log}")
        self.kills += 1

    async def end(self) -> None:
        """Kill it for good where it lives; that is no fault that counts."""
        if self.pid:
            await self.kill()
            self.kills -= 1

    async def until_ready(self) -> None:
        """Wait until it says that it judges alerts."""
        async with asyncio.timeout(_READY_SECONDS), aiohttp.ClientSession() as session:
            while not await self._is_ready(session):
                await asyncio.sleep(0.1)

    def memory(self) -> int:
        """Most bytes that this life had in memory."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        if "Z (zombie)" in Path(f"/proc/{self.pid}/status").read_text():
            raise RuntimeError(f"the operator ended:\n{self.log.read_text()[-3000:]}")
        try:
            async with session.get(f"http://127.0.0.1:{self.health_port}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False
