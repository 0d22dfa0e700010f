"""Kills the operator at random moments of a storm."""

import asyncio
from dataclasses import dataclass
from random import Random

from proofs.storm.ledger import Ledger
from proofs.storm.victim import Victim

_EARLY = 0.25
"""Share of the kills that come while the next life is still starting, or has just begun."""


@dataclass(frozen=True, slots=True)
class RandomKills:
    """Most kills come when a drawn number of messages is acknowledged, so that they are spread over the whole storm."""

    victim: Victim
    ledger: Ledger
    random: Random

    async def work(self, kills: int, messages: int) -> None:
        """Kill that often while that many messages are being told."""
        began = self.ledger.progress
        early = sum(self.random.random() < _EARLY for _ in range(kills))
        moments = sorted(self.random.uniform(0.01, 0.97) * messages for _ in range(kills - early))
        for moment in moments:
            while self.ledger.progress - began < moment:
                await asyncio.sleep(0.01)
            await asyncio.sleep(self.random.uniform(0, 0.05))
            await self._strike()
            if early and self.random.random() < early / len(moments) * 1.5:
                early -= 1
                await self._strike_early()
        for _ in range(early):
            await self._strike_early()

    async def _strike_early(self) -> None:
        await asyncio.sleep(self.random.uniform(0, 2.0))
        await self._strike()

    async def _strike(self) -> None:
        await self.victim.kill()
        await self.victim.start()
