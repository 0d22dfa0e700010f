"""How long a P0 alert waits for its first act, in the middle of a storm and alone."""

import asyncio
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from statistics import median

from proofs.storm import many_alerts
from proofs.storm.alerts import Alert, body
from proofs.storm.ledger import Ledger
from proofs.storm.retrying import pauses
from proofs.storm.rig import Line, Rig
from proofs.storm.storm_namespace import URGENT
from proofs.storm.victim import Victim
from proofs.storm.watching import Intents
from proofs.storm.wire import Connection

_STEP = "hold"
_PATIENCE = 60.0
_LEASE_SECONDS = 15
"""As it ships: nobody is killed here, and a short one would be lost now and then on a busy machine."""
_SCALE, _TRIES = 0.1, 20
Sent = Mapping[str, tuple[float, float]]
"""Instance → when its alert was sent, and when it was answered."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds from an alert being sent to the intent of its first act reaching the apiserver."""

    alone: tuple[float, ...]
    stormy: tuple[float, ...]
    stored: tuple[float, ...]
    """The part of `stormy` until the message was answered: what the receiver took of it."""

    @property
    def ratio(self) -> float:
        """Median in the storm ÷ median alone."""
        return median(self.stormy) / median(self.alone)

    def __str__(self) -> str:
        alone, stormy, stored = (1000 * median(each) for each in (self.alone, self.stormy, self.stored))
        return f"{self.ratio:.1f} x ({stormy:.0f} ms in the storm, {stored:.0f} of them until stored; {alone:.0f} ms alone)"


async def urgent(rig: Rig, alerts: int, number: int) -> tuple[Line, Waits]:
    """Send P0 alerts alone, then as many spread over a storm of P3 alerts that are driven as well."""
    ledger = Ledger()
    async with rig.operator("urgent", lease_seconds=_LEASE_SECONDS) as victim:
        with Intents(rig.cluster, _STEP) as intents:
            waits = await _waits(rig, victim, ledger, intents, alerts, number)
    return await rig.judge(f"{alerts} groups of P3, and {2 * number + 1} P0 alerts", ledger, victim), waits


async def _waits(rig: Rig, victim: Victim, ledger: Ledger, intents: Intents, alerts: int, number: int) -> Waits:
    await _first(intents, await _send(victim, ledger, "warm", 1, 0.0))
    alone = await _first(intents, await _send(victim, ledger, "alone", number, 0.5))
    with rig.pair(victim, ledger) as pair:
        async with asyncio.TaskGroup() as tasks:
            for each in pair:
                tasks.create_task(each.deliver(many_alerts.distinct("calm", alerts, many_alerts.now())))
            began, sent = ledger.progress, dict[str, tuple[float, float]]()
            for index in range(number):
                while ledger.progress - began < 2 * alerts * (index + 1) / (number + 2):
                    await asyncio.sleep(0.01)
                sent |= await _send(victim, ledger, f"stormy-{index}", 1, 0.0)
        stored = tuple(answered - began for began, answered in sent.values())
        return Waits(alone, await _first(intents, sent), stored)


async def _send(victim: Victim, ledger: Ledger, name: str, number: int, pause: float) -> Sent:
    """Send P0 alerts one by one."""
    sent: dict[str, tuple[float, float]] = {}
    connection = Connection(victim.port)
    for index in range(number):
        made = many_alerts.alert(URGENT, f"{name}-{index}", many_alerts.now())
        sent[made.labels["instance"]] = await _tell(connection, ledger, made)
        await asyncio.sleep(pause)
    connection.close()
    return sent


async def _tell(connection: Connection, ledger: Ledger, alert: Alert) -> tuple[float, float]:
    ledger.sending([alert])
    message = body([alert], {"instance": alert.labels["instance"]})
    began = time.time()
    for pause in itertools.islice(pauses(Random(0), _SCALE), _TRIES):
        status = await connection.post(message)
        ledger.posts[str(status or "none")] += 1
        if status == 200:
            ledger.told([alert])
            return began, time.time()
        await asyncio.sleep(pause)
    raise RuntimeError(f"a P0 alert was not taken in {_TRIES} times; the last answer was {status}")


async def _first(intents: Intents, sent: Sent) -> tuple[float, ...]:
    """Wait until all of them began to act."""
    deadline = time.monotonic() + _PATIENCE
    while not set(sent) <= set(intents.seen):
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"P0 alerts without an act after {_PATIENCE:g} s: {sorted(set(sent) - set(intents.seen))}"
            )
        await asyncio.sleep(0.2)
    return tuple(intents.seen[instance] - at for instance, (at, _) in sent.items())
