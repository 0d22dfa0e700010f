"""Operators as real processes: started by a fork of one that has imported everything, killed for good, started again."""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from e2e.operator_process import environment_of, free_port

REPOSITORY = Path(__file__).resolve().parents[2]
_READY_SECONDS = 30.0


class Stable:
    """The process that forks operators."""

    def __enter__(self) -> Self:
        self._line, theirs = socket.socketpair()
        words = [sys.executable, "-m", "faults.stable", str(theirs.fileno())]
        path = os.pathsep.join([str(REPOSITORY / "operator"), str(REPOSITORY / "tests")])
        environment = {**os.environ, "PYTHONPATH": path}
        self._process = subprocess.Popen(words, env=environment, pass_fds=[theirs.fileno()])
        theirs.close()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._line.close()
        self._process.wait(timeout=10)

    def fork(self, order: Mapping[str, Any]) -> int:
        """Start an operator; return the handle (pidfd) of its process."""
        self._line.sendall(json.dumps(order).encode())
        _, handles, _, _ = socket.recv_fds(self._line, 64, 1)
        if not handles:
            raise RuntimeError("the process that forks operators has ended")
        return int(handles[0])


@dataclass
class Operator:
    """One lane's operator, which is started again whenever it has ended, as the kubelet would."""

    stable: Stable
    kubeconfig: Path
    folder: Path
    namespace: str
    broken: str = ""
    hastened: bool = False
    """Whether its safety nets come round every few seconds."""
    starts: int = 0
    died: int = 0
    """How often it ended although nobody killed it."""
    more: Mapping[str, str] = field(default_factory=dict)
    _handle: int = -1
    _restarting: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.port, self.health_port = free_port(), free_port()

    @property
    def log(self) -> Path:
        """Everything that it wrote, over all its lives."""
        return self.folder / "operator.log"

    def start(self) -> None:
        """Start it; whether it is ready is another question."""
        environment = environment_of(self.folder, self.namespace, self.port, self.health_port)
        own = {"LEASE_NAMESPACE": self.namespace, "LEASE_NAME": "faults", "LEASE_SECONDS": "2", **self.more}
        environment |= {f"INCIDENT_OPERATOR_{key}": value for key, value in own.items()}
        words = ["run", "--kubeconfig", str(self.kubeconfig)]
        told = {"broken": self.broken, "hastened": self.hastened}
        order = {"environment": environment, "log": str(self.log), "words": words, **told}
        self._handle = self.stable.fork(order)
        self.starts += 1

    async def kill(self) -> None:
        """End it as a power cut would, wait until it is gone, and start it again, whoever still waits for that."""
        self._restarting = asyncio.create_task(self._restart())
        await asyncio.shield(self._restarting)

    async def _restart(self) -> None:
        await self.end(signal.SIGKILL)
        self.start()

    async def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it and wait until it is gone."""
        if self._handle < 0:
            return
        handle, self._handle = self._handle, -1
        try:
            signal.pidfd_send_signal(handle, how)
            await _gone(handle)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)

    def revive(self) -> bool:
        """Start it again where it ended by itself; tell whether it had."""
        if self._handle < 0 or not _has_ended(self._handle):
            return False
        os.close(self._handle)
        self.died += 1
        self.start()
        return True

    async def until_ready(self) -> None:
        """Wait until it says that it is ready."""
        async with asyncio.timeout(_READY_SECONDS), aiohttp.ClientSession() as session:
            while not await self._is_ready(session):
                self.revive()
                await asyncio.sleep(0.05)

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"http://127.0.0.1:{self.health_port}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False


def _has_ended(handle: int) -> bool:
    return bool(select.select([handle], [], [], 0)[0])


async def _gone(handle: int) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        async with asyncio.timeout(40):
            await ended.wait()
    finally:
        loop.remove_reader(handle)
