"""What every scenario is given: the cluster, a way to begin operators, a pair of Alertmanagers, and how to judge."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from demonstration.cluster import Cluster

from proofs.storm import storm_namespace
from proofs.storm.alertmanager import Alertmanager
from proofs.storm.ledger import Balance, Ledger, Stored, balance, stored
from proofs.storm.victim import Forks, Victim
from tests.e2e.cluster_setup import authority, server
from tests.e2e.operator_process import kubeconfig


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table."""

    scenario: str
    balance: Balance
    incidents: int
    kills: int
    posts: str
    note: str = ""
    failed: str = ""
    """What is wrong beyond the balance; empty where nothing is."""

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled or wrong."""
        return self.balance.clean and not self.failed


@dataclass(frozen=True, slots=True)
class Rig:
    """The same for all scenarios of a run."""

    cluster: Cluster
    token: str
    forks: Forks
    folder: Path
    random: Random
    connections: int = 48
    """Of each Alertmanager of the pair."""
    scale: float = 0.1
    """Of the pauses between retries: 50 ms to 6 s."""

    @contextlib.asynccontextmanager
    async def operator(self, name: str, url: str = "", lease_seconds: int = 2) -> AsyncIterator[Victim]:
        """An operator, ready, speaking to the apiserver directly or through whatever listens at the URL."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        trust = "" if url.startswith("http:") else authority(self.cluster)
        config = kubeconfig(folder / "kubeconfig", url or server(self.cluster), self.token, trust)
        victim = Victim(self.forks, config, folder, storm_namespace.NAMESPACE, lease_seconds)
        await victim.start()
        try:
            await victim.until_ready()
            yield victim
        finally:
            await victim.end()

    @contextlib.contextmanager
    def pair(self, victim: Victim, ledger: Ledger) -> Iterator[list[Alertmanager]]:
        """Two Alertmanagers that lost sight of each other: both tell everything."""
        made = [
            Alertmanager(victim.port, ledger, self.random, connections=self.connections, scale=self.scale)
            for _ in range(2)
        ]
        try:
            yield made
        finally:
            for each in made:
                each.close()

    async def held(self) -> Stored:
        """What etcd holds now."""
        return await asyncio.to_thread(lambda: stored(storm_namespace.incidents(self.cluster)))

    async def judge(self, scenario: str, ledger: Ledger, victim: Victim, note: str = "", failed: str = "") -> Line:
        """Compare what was acknowledged with what is stored, and say so; then clear."""
        held = await self.held()
        found = balance(ledger, held)
        posts = ", ".join(f"{count} x {answer}" for answer, count in sorted(ledger.posts.items()))
        refused = f"{len(ledger.dropped)} messages dropped after {set(ledger.dropped)}" if ledger.dropped else ""
        line = Line(scenario, found, held.incidents, victim.kills, posts, note, failed or refused)
        await asyncio.to_thread(storm_namespace.clear, self.cluster)
        return line
