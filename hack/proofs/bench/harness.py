"""What every measurement needs: how much is measured, interleaving, and a burst of Incidents whose CPU is counted."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp

from proofs.bench import rig
from proofs.bench.bare import Bare, in_turns
from proofs.bench.incidents import Poster, incidents, is_done, seeing
from proofs.bench.programs import Program
from proofs.bench.rig import Rig
from proofs.bench.rows import ROWS, Result

Timed = Callable[[], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    repetitions: int = 5
    posts: int = 100
    burst: int = 60
    storm: int = 400
    existing: int = 10_000
    few: int = 100
    idle_seconds: float = 60.0


QUICK = Size(repetitions=2, posts=20, burst=20, storm=60, existing=300, few=20, idle_seconds=10.0)


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measurement needs."""

    on: Rig
    bare: Bare
    session: aiohttp.ClientSession
    size: Size
    mark: str
    """Ends the names of this run's namespaces."""

    async def namespace(self, stack: AsyncExitStack, what: str) -> str:
        """A namespace for the time of the stack."""
        return stack.enter_context(rig.namespace(self.on, f"bench-{what}-{self.mark}"))


async def interleaved(repetitions: int, ours: Timed, theirs: Timed) -> list[tuple[float, float]]:
    """Return a pair of figures for each repetition, ABBA within each, so that a drift of the machine meets both alike."""
    pairs = []
    for _ in range(repetitions):
        first, second, third, fourth = await ours(), await theirs(), await theirs(), await ours()
        pairs.append(((first + fourth) / 2, (second + third) / 2))
    return pairs


def ratio(key: str, pairs: list[tuple[float, float]], unit: str) -> Result:
    """Return ours ÷ theirs for each repetition."""
    mine, other = (sum(pair[side] for pair in pairs) / len(pairs) for side in (0, 1))
    beside = f"{mine:.2f} {unit} beside {other:.2f} {unit}"
    return Result(ROWS[key], [ours / theirs for ours, theirs in pairs], beside)


async def settled(program: Program) -> None:
    """Wait until a program has nothing to do any more."""
    used = program.cpu()
    for _ in range(100):
        await asyncio.sleep(0.5)
        if program.cpu() - used < 0.03:
            return
        used = program.cpu()


async def burst_of(bench: Bench, stack: AsyncExitStack, program: Program, namespace: str) -> Timed:
    """Return what drives a burst and tells the milliseconds of CPU that each Incident took."""
    poster = Poster(bench.session, program, namespace)
    seen = await stack.enter_async_context(seeing(bench.bare, incidents(namespace), is_done))
    posted = [0]

    async def burst() -> float:
        await settled(program)
        before = program.cpu()
        await in_turns([poster.post() for _ in range(bench.size.burst)])
        posted[0] += bench.size.burst
        await seen.until(posted[0])
        await settled(program)
        return 1000 * (program.cpu() - before) / bench.size.burst

    return burst
