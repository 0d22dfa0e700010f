"""Operators as real processes: started by a fork of one that has imported everything, killed for good, started again."""

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from proofs.forking.starter import Forked, Stable
from tests.e2e.operator_process import environment_of, free_port

_READY_SECONDS = 30.0
LEASE = "faults"


@dataclass
class Operator:
    """One worker's operator, which is started again whenever it has ended, as the kubelet would."""

    stable: Stable
    kubeconfig: Path
    folder: Path
    namespace: str
    broken: str = ""
    hastened: bool = False
    """Whether its safety nets come round every few seconds."""
    later_by: int = 0
    """Days by which its clock is ahead."""
    starts: int = 0
    died: int = 0
    """How often it ended although nobody killed it."""
    more: Mapping[str, str] = field(default_factory=dict)
    _forked: Forked | None = None
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
        own = {"LEASE_NAMESPACE": self.namespace, "LEASE_NAME": LEASE, "LEASE_SECONDS": "2", **self.more}
        environment |= {f"INCIDENT_OPERATOR_{key}": value for key, value in own.items()}
        words = ["run", "--kubeconfig", str(self.kubeconfig)]
        broken = [f"proofs.faults.broken:{self.broken}"] if self.broken else []
        hastened = ["proofs.faults.hastened"] if self.hastened else []
        later = [f"proofs.faults.later:{self.later_by}"] if self.later_by else []
        self._forked = self.stable.fork(words, environment, self.log, [*broken, *hastened, *later])
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
        forked, self._forked = self._forked, None
        if forked is not None:
            forked.send_signal(how)
            await forked.wait()

    def revive(self) -> bool:
        """Start it again where it ended by itself; tell whether it had."""
        if self._forked is None or self._forked.runs:
            return False
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
