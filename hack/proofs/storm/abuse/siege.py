"""The receiver under abuse: one attack after another against the real process, while good clients go on posting."""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from proofs.storm.abuse.attackers import ATTACKS
from proofs.storm.alerts import body
from proofs.storm.ledger import Ledger, balance
from proofs.storm.many_alerts import alert, now
from proofs.storm.rig import Rig
from proofs.storm.storm_namespace import STORM
from proofs.storm.victim import Victim
from proofs.storm.wire import Connection

MEMORY_LIMIT = 384 * 1024**2
"""Three quarters of what the chart lets the Pod have."""
_NONE = "none"
_CLIENTS = 4
_EVERY = 0.1
_INSTANCES = 40
"""The good clients' alerts: most posts repeat what is known, as most of Alertmanager's do."""


@dataclass(slots=True)
class Good:
    """What the good clients saw."""

    answers: Counter[int | None] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def all_taken(self) -> bool:
        """Whether every one of their messages was answered 200."""
        return set(self.answers) == {200}


@dataclass(frozen=True, slots=True)
class Attacked:
    """One row of the table."""

    attack: str
    seen: dict[str, int]
    good: Good
    memory: int
    """Most bytes in the operator's memory up to then."""

    @property
    def slowest(self) -> float:
        """The good clients' slowest answer ÷ their median."""
        return max(self.good.seconds) / median(self.good.seconds)

    @property
    def wrong(self) -> list[str]:
        """Answers that should not have been given."""
        return [f"{count} x {what}" for what, count in self.seen.items() if what.startswith("WRONG")]

    @property
    def clean(self) -> bool:
        """Whether nobody but the attacker noticed."""
        return self.good.all_taken and self.memory <= MEMORY_LIMIT and not self.wrong


async def siege(
    rig: Rig, seconds: float, tell: Callable[[Attacked], None], attacks: Sequence[str] = tuple(ATTACKS)
) -> tuple[tuple[Attacked, ...], bool]:
    """Attack for that long in each way; return a row for each, and whether all good alerts are stored once."""
    ledger = Ledger()
    rows: list[Attacked] = []
    async with rig.operator("siege") as victim:
        await _row(victim, ledger, _NONE, min(5.0, seconds))  # connections and caches become warm
        for attack in (_NONE, *attacks):
            rows.append(await _row(victim, ledger, attack, seconds))
            tell(rows[-1])
        found = balance(ledger, await rig.held())
    # what attackers sent and was right is stored too, and was never told to the ledger
    return tuple(rows), replace(found, invented=()).clean


async def _row(victim: Victim, ledger: Ledger, name: str, seconds: float) -> Attacked:
    good, over = Good(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for client in range(_CLIENTS):
            tasks.create_task(_post_steadily(victim.port, client, good, ledger, over))
        seen = await (_rest(seconds) if name == _NONE else _attack(name, victim.port, seconds))
        over.set()
    return Attacked(name, seen, good, victim.memory())


async def _rest(seconds: float) -> dict[str, int]:
    await asyncio.sleep(seconds)
    return {}


async def _attack(kind: str, port: int, seconds: float) -> dict[str, int]:
    program = str(Path(__file__).with_name("attackers.py"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, kind, str(port), str(seconds), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await asyncio.wait_for(process.communicate(), seconds + 120)
    if process.returncode:
        raise RuntimeError(f"the attacker {kind} ended with {process.returncode}")
    seen: dict[str, int] = json.loads(told)
    return seen


async def _post_steadily(port: int, client: int, good: Good, ledger: Ledger, over: asyncio.Event) -> None:
    """A right message every tenth of a second, on a connection that is kept; each new alert after forty repeats."""
    connection = Connection(port, timeout=30.0)
    began = now()
    for index in itertools.count():
        if over.is_set():
            break
        made = alert(STORM, f"good-{client}-{index % _INSTANCES}", began)
        ledger.sending([made])
        sent = body([made], {"instance": made.labels["instance"]})
        started = time.monotonic()
        answer = await connection.post(sent)
        if answer is None:  # a kept connection may have been closed while it was idle; Go's client tries another
            answer = await connection.post(sent)
        good.seconds.append(time.monotonic() - started)
        good.answers[answer] += 1
        if answer == 200:
            ledger.told([made])
        await asyncio.sleep(_EVERY)
    connection.close()
