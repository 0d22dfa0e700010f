"""Alerts of a siege, and how they are sent: again until they are taken, as Alertmanager does."""

import asyncio
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
from demonstration.cluster import Cluster

from proofs.siege.hostile import Attack
from proofs.siege.rig import FORT, STEP, URGENT
from proofs.storm.alerts import Alert, body, milliseconds
from proofs.storm.watching import Intents

_TRY_SECONDS = 10.0
"""Alertmanager's own limit for one try."""
_PAUSE = 0.5
PATIENCE = 60.0
"""Seconds after which a P0 alert without an act is one that never came to it."""


def alert(name: str, instance: str, namespace: str, starts_at: datetime) -> Alert:
    """One alert about something in a namespace."""
    labels = {"alertname": name, "instance": instance, "namespace": namespace, "severity": "page"}
    return Alert(labels=labels, starts_at=starts_at, annotations={"summary": f"{instance} has trouble"})


def messages(attack: Attack, starts_at: datetime) -> list[bytes]:
    """The messages of an attack, one for each of its namespaces; the same bytes each time."""
    made = []
    for namespace in attack.namespaces if attack.alerts else ():
        name = attack.alertname
        alerts = [alert(name, f"{attack.name}-{number}", namespace, starts_at) for number in range(attack.alerts)]
        made.append(body(alerts, {"alertname": name, "namespace": namespace}))
    return made


@dataclass(frozen=True, slots=True)
class Sender:
    """Posts to the operator's receiver."""

    session: aiohttp.ClientSession
    url: str
    token: str

    async def send(self, message: bytes, patience: float = PATIENCE) -> bool:
        """Send until it is taken; tell whether it was."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if await self._post(message) == 200:
                return True
            await asyncio.sleep(_PAUSE)
        return False

    async def send_all(self, sent: Iterable[bytes]) -> None:
        """Send these once each, taken or not: whoever waits for them sends them again."""
        for message in sent:
            await self._post(message)

    async def _post(self, message: bytes) -> int | None:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        limit = aiohttp.ClientTimeout(total=_TRY_SECONDS)
        try:
            async with self.session.post(self.url, data=message, headers=headers, timeout=limit) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return None


@dataclass(frozen=True, slots=True)
class Urgent:
    """P0 alerts of fort, one after another, and what each waits for its first act."""

    cluster: Cluster
    sender: Sender

    async def waits(self, name: str, number: int, pause: float, over: asyncio.Event | None = None) -> tuple[float, ...]:
        """Send at least `number` of them, and more until `over` is set; return the seconds each waited, infinite where it still does."""
        sent: dict[str, float] = {}
        with Intents(self.cluster, STEP, FORT) as intents:
            while len(sent) < number or (over is not None and not over.is_set()):
                instance = f"{name}-{len(sent)}"
                sent[instance] = time.time()
                await self.sender.send(body([alert(URGENT, instance, FORT, now())], {"instance": instance}))
                await asyncio.sleep(pause)
            await _until_seen(intents, sent)
            return waited(sent, intents.seen)


async def _until_seen(intents: Intents, sent: Iterable[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not set(sent) <= set(intents.seen) and time.monotonic() < deadline:
        await asyncio.sleep(0.1)


def waited(sent: dict[str, float], seen: dict[str, float]) -> tuple[float, ...]:
    """Return what each waited, in the order in which they were sent."""
    return tuple(seen.get(instance, math.inf) - at for instance, at in sent.items())


def now() -> datetime:
    """The time, as precise as Prometheus has it."""
    return milliseconds(datetime.now(UTC))


def without_the_first(waits: Sequence[float]) -> tuple[float, ...]:
    """Leave out the one that made connections and caches warm."""
    return tuple(waits[1:])
