"""The operators of a round: real processes, each on a line of its own to the apiserver, one of which leads."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeVar

from demonstration.cluster import Cluster

from incident_operator.kubernetes import apiserver, discovery
from proofs.rounds.line import Line
from tests.e2e import cluster_setup
from tests.e2e.operator_process import OperatorProcess, kubeconfig

NAMESPACE, LEASE = "rounds", "rounds"
LEASE_SECONDS = 3
"""Unless the command line says otherwise; a machine with much else to do wants more."""
_PATIENCE = 60.0
_HACK = Path(__file__).resolve().parents[2]
T = TypeVar("T")


@dataclass
class Operator:
    """One process and its line."""

    name: str
    process: OperatorProcess
    line: Line

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.process.process is not None and self.process.process.returncode is None:
            self.process.process.send_signal(number)

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self.process.process is None or self.process.process.returncode is not None

    async def end(self, number: signal.Signals) -> int:
        """End it, wait until it is gone, and return its exit code."""
        self.line.mend()
        if self.process.process is None:
            return 0
        self.send(number)
        return await self.process.process.wait()


@dataclass
class Operators:
    """All that run now."""

    cluster: Cluster
    admin: apiserver.Kube
    token: str
    folder: Path
    lease_seconds: int = LEASE_SECONDS
    running: list[Operator] = field(default_factory=list)
    skewed: bool = False
    _numbers: count = field(default_factory=count)

    async def have_two(self, *, skewed: bool) -> None:
        """See to it that exactly two run, with wrong clocks or right ones, and that one of them leads."""
        if skewed != self.skewed:
            await self.end()
        self.skewed = skewed
        for gone in [each for each in self.running if each.ended]:
            await self.drop(gone)
        for each in self.running[2:]:
            await self.drop(each)
        await asyncio.gather(*(self.start() for _ in range(2 - len(self.running))))
        await self.leader()

    async def start(self) -> Operator:
        """Start one more, and wait until it is ready."""
        number = next(self._numbers)
        name, folder = f"operator-{number}", self.folder / f"operator-{number}"
        folder.mkdir(parents=True)
        host, _, port = cluster_setup.server(self.cluster).removeprefix("https://").partition(":")
        line = await Line(lambda: asyncio.open_connection(host, int(port))).__aenter__()
        server = f"https://127.0.0.1:{line.port}"
        config = kubeconfig(folder / "kubeconfig", server, self.token, cluster_setup.authority(self.cluster))
        process = OperatorProcess(config, folder, NAMESPACE, more=self._more(name, number))
        process.module = "proofs.rounds.skewed" if self.skewed else "incident_operator"
        made = Operator(name, process, line)
        self.running.append(made)
        await process.start()
        return made

    def _more(self, name: str, number: int) -> dict[str, str]:
        own = {
            "INSTANCE": name,
            "LEASE_NAMESPACE": NAMESPACE,
            "LEASE_NAME": LEASE,
            "LEASE_SECONDS": str(self.lease_seconds),
        }
        wrong_by = 300 if number % 2 else -300
        return {f"INCIDENT_OPERATOR_{key}": value for key, value in own.items()} | {
            "PYTHONPATH": str(_HACK),
            "ROUNDS_SKEW": str(wrong_by),
        }

    async def drop(self, operator: Operator) -> None:
        """End one for good."""
        self.running.remove(operator)
        operator.send(signal.SIGCONT)
        await operator.end(signal.SIGKILL)
        await operator.line.__aexit__(None, None, None)

    async def end(self) -> None:
        """End all."""
        for each in list(self.running):
            await self.drop(each)

    async def leader(self) -> Operator:
        """Wait until one of those that run leads; return it."""
        return await until(self._leading, "an operator that leads")

    async def follower(self, leader: Operator, since: float) -> float:
        """Wait until another holds the Lease; return the seconds since then."""
        await until(lambda: self._other_than(leader), f"another leader than {leader.name}")
        return time.monotonic() - since

    async def _leading(self) -> Operator | None:
        holder = await self._holder()
        return next((each for each in self.running if each.name == holder and not each.ended), None)

    async def _other_than(self, operator: Operator) -> bool | None:
        return True if await self._holder() not in {"", operator.name} else None

    async def _holder(self) -> str:
        with suppress(apiserver.NotFound):
            lease = await self.admin.get(discovery.leases(NAMESPACE, LEASE))
            return str(lease["spec"]["holderIdentity"]).rpartition("-")[0]
        return ""


async def until(look: Callable[[], Awaitable[T | None]], what: str, patience: float = _PATIENCE) -> T:
    """Look until there is something, in bounded time."""
    deadline = time.monotonic() + patience
    while (found := await look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience:.0f}s: {what}")
        await asyncio.sleep(0.03)
    return found
