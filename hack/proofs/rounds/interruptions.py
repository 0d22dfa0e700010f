"""What happens to the leader, and how long it takes until another leads."""

import asyncio
import signal
import time
from dataclasses import dataclass

from proofs.rounds.operators import Operator, Operators
from proofs.rounds.plan import Interruption


@dataclass(frozen=True, slots=True)
class Taken:
    """How the leadership changed."""

    seconds: float
    """From the interruption until another held the Lease."""
    exit_code: int = 0
    """Of a process that was told to end."""


async def interrupt(how: Interruption, operators: Operators, leader: Operator) -> Taken:
    """Strike the leader, and return when another leads and the first is as well as it will be."""
    began = time.monotonic()
    match how:
        case Interruption.KILLED | Interruption.SKEWED:
            leader.send(signal.SIGKILL)
            return Taken(await operators.follower(leader, began))
        case Interruption.HALTED:
            leader.send(signal.SIGSTOP)
            taken = await operators.follower(leader, began)
            await asyncio.sleep(0.3)
            leader.send(signal.SIGCONT)
            return Taken(taken)
        case Interruption.CUT:
            leader.line.cut()
            taken = await operators.follower(leader, began)
            await asyncio.sleep(0.3)
            leader.line.mend()
            return Taken(taken)
        case Interruption.TOLD:
            return await _told(operators, leader, began)
        case Interruption.UPGRADED:
            taken = await _told(operators, leader, began)
            second = next(each for each in operators.running if not each.ended)  # the newest one stays
            if second is not operators.running[-1]:
                await second.end(signal.SIGTERM)
            return taken


async def _told(operators: Operators, leader: Operator, began: float) -> Taken:
    leader.send(signal.SIGTERM)
    taken = await operators.follower(leader, began)
    return Taken(taken, await _exit_code(leader))


async def _exit_code(leader: Operator) -> int:
    process = leader.process.process
    return 0 if process is None else await asyncio.wait_for(process.wait(), 40)
