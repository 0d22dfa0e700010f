"""Leader election by a Lease: the process that holds it acts, the others are ready to.

The Lease keeps two processes out of each other's way; it is not the fence. That is the intent, which is written with a
precondition before each act. Who may lead is judged by what this process saw of the Lease and when it saw it, never by another
machine's clock. What only the leader does are its queues and callbacks, from a term's begin to its end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import structlog

from incident_operator.core.outcomes import Json
from incident_operator.engine.work_queue import WorkQueue, steady
from incident_operator.kubernetes import apiserver, discovery

_ACTING = 2 / 3
"""Part of the duration in which the holder may begin something after it asked for the Lease; the rest is distance."""


class Move(Enum):
    """What to do about the Lease now."""

    ACQUIRE = "acquire"
    RENEW = "renew"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Observation:
    """The Lease as it was seen last."""

    version: str
    """Its resourceVersion; a new one is the only sign of life that counts."""
    holder: str
    """Empty where it was released."""
    seconds: float
    """How long the holder says that it counts without being renewed."""
    since: float
    """When this version was seen first, by our own steady clock."""

    @property
    def over_at(self) -> float:
        """When the holder has certainly stopped beginning things, by our own steady clock."""
        return self.since + self.seconds


def observe(lease: Mapping[str, Any], before: Observation | None, now: float, seconds: float) -> Observation:
    """Return what is observed of a Lease as it was just received; `seconds` counts where it names no duration of its own."""
    version, spec = lease["metadata"]["resourceVersion"], lease.get("spec") or {}
    known = before is not None and before.version == version
    return Observation(
        version=version,
        holder=spec.get("holderIdentity") or "",
        seconds=float(spec.get("leaseDurationSeconds") or seconds),
        since=before.since if known and before is not None else now,
    )


def next_move(observation: Observation | None, me: str, now: float) -> Move:
    """Return what the process called `me` does about the Lease; None stands for one that does not exist."""
    if observation is None or not observation.holder:
        return Move.ACQUIRE
    if observation.holder == me:
        return Move.RENEW
    return Move.ACQUIRE if now >= observation.over_at else Move.WAIT


def acting_until(sent_at: float, seconds: float) -> float:
    """Return until when the holder may begin something: counted from before it asked, so earlier than anyone's `over_at`."""
    return sent_at + seconds * _ACTING


Callback = Callable[[], Awaitable[None]]
"""Something that goes on for as long as this process leads; it is cancelled at the end of the term."""
_log = structlog.get_logger()


class LeaderCallbacks:
    """Begins and ends terms. Everything is begun anew each time: nothing is taken over from an earlier term."""

    def __init__(self, pause: float = 10.0) -> None:
        self.queues: list[WorkQueue] = []
        self.callbacks: list[Callback] = []
        self._pause = pause
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Resume every queue, and start every callback."""
        for queue in self.queues:
            queue.resume()
        for callback in self.callbacks:
            task = asyncio.create_task(self._keep(callback))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def end(self) -> None:
        """Begin nothing more; an act that is under way goes on to its end."""
        for queue in self.queues:
            queue.pause()
        for task in self._tasks:
            task.cancel()

    async def _keep(self, callback: Callback) -> None:
        while True:
            try:
                return await callback()
            except Exception:  # noqa: BLE001 # a defect of one callback must not end the others
                _log.exception("A callback of the leader failed")
                await asyncio.sleep(self._pause)


_TRIES = 3
"""How often in a row a Lease that changed meanwhile is read and written again."""
_LONGEST_POLL = 0.5
"""Seconds between two looks of a process that waits, so that a Lease that was released is taken at once."""
_NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class LeaseConfig:
    """Which Lease, held for how long at a time, and under which name, unique among all processes."""

    namespace: str
    name: str
    seconds: int
    me: str


class LeaderElector:
    """Takes, renews and releases the Lease, and tells each term's begin and end."""

    def __init__(
        self,
        client: apiserver.Kube,
        config: LeaseConfig,
        clock: Callable[[], datetime],
        callbacks: LeaderCallbacks,
        *,
        steady: Callable[[], float] = steady,
    ) -> None:
        self._kube = client
        self._config = config
        self._clock = clock
        self._steady = steady
        self._callbacks = callbacks
        self._lease: Json | None = None
        self._observation: Observation | None = None
        self._acting_until = _NEVER
        self._leads_since: float | None = None
        self._alone_since: float | None = None
        """Since when nobody else has held it; a term that follows one's own means nothing to anybody's acts."""
        self._released = False
        self._one_at_a_time = asyncio.Lock()
        self._trouble = ""

    def may_act(self) -> bool:
        """Tell whether something may be begun at this moment."""
        return not self._released and self._leads_since is not None and self._steady() < self._acting_until

    def led_for(self) -> timedelta:
        """Return for how long nobody but this process has led; nothing while it does not."""
        if self._leads_since is None or self._alone_since is None:
            return timedelta()
        return timedelta(seconds=self._steady() - self._alone_since)

    async def run(self) -> None:
        """Try to lead until cancelled or released."""
        while not self._released:
            async with self._one_at_a_time:
                pause = await self.turn()
            await asyncio.sleep(pause)

    async def turn(self) -> float:
        """Look once, take or renew if it is ours to; return the seconds until the next turn."""
        if not self.may_act():
            self._end_term("it could not be renewed in time")
        try:
            async with asyncio.timeout(self._config.seconds / 3):
                await self._settle()
        except (apiserver.ApiError, TimeoutError) as error:
            trouble = str(error) or "no answer in time"
            if trouble != self._trouble:
                self._trouble = trouble
                _log.warning("The Lease cannot be read or written", lease=self._config.name, error=trouble)
            return self._poll()
        self._trouble = ""
        return self._config.seconds / 5 if self.may_act() else self._poll()

    async def release(self) -> None:
        """Let the others have the Lease at once; nothing may be begun any more. Raises nothing."""
        self._released = True
        self._end_term("this process ends")
        try:
            async with asyncio.timeout(self._config.seconds), self._one_at_a_time:
                for _ in range(_TRIES):
                    if self._observation is None or self._observation.holder != self._config.me:
                        return
                    try:
                        self._keep(await self._write(""))
                    except apiserver.Conflict:
                        await self._look()
        except (apiserver.ApiError, TimeoutError) as error:
            _log.warning("The Lease could not be released; it expires by itself", error=str(error) or "no answer")

    def _poll(self) -> float:
        """A holder that was not heard counts as gone at a known moment; no look is later than that."""
        pause = min(_LONGEST_POLL, self._config.seconds / 10)
        left = self._observation.over_at - self._steady() if self._observation is not None else pause
        return min(pause, left) if left > 0 else pause

    async def _settle(self) -> None:
        if self._leads_since is None or self._observation is None:
            await self._look(cached=True)
        for _ in range(_TRIES):
            move = next_move(self._observation, self._config.me, self._steady())
            if move is Move.WAIT:
                self._end_term("another process holds it")
                return
            if await self._take():
                return
            await self._look()

    async def _look(self, *, cached: bool = False) -> None:
        """Read the Lease; `cached` costs the apiserver next to nothing, and may be a little old."""
        at = discovery.leases(self._config.namespace, self._config.name)
        try:
            self._keep(await self._kube.get(at, params={"resourceVersion": "0"} if cached else None))
        except apiserver.NotFound:
            self._lease = self._observation = None

    async def _take(self) -> bool:
        """Write our name over exactly the Lease that was seen; False where it is not the newest any more."""
        asked_at = self._steady()
        try:
            self._keep(await self._write(self._config.me))
        except (apiserver.Conflict, apiserver.AlreadyExists, apiserver.NotFound):
            return False
        if not self.may_act():
            # reconciliations that ended meanwhile, because nothing could be begun, are asked for anew by a new term only
            self._end_term("it was renewed too late")
        if self._alone_since is None:
            self._alone_since = self._steady()
        if not self._released:
            self._acting_until = acting_until(asked_at, self._config.seconds)
            if self._leads_since is None and self._steady() < self._acting_until:
                self._leads_since = self._steady()
                _log.info("Became leader", lease=self._config.name, holder=self._config.me)
                self._callbacks.begin()
        return True

    def _keep(self, lease: Json) -> None:
        self._lease = lease
        self._observation = observe(lease, self._observation, self._steady(), self._config.seconds)
        if self._observation.holder != self._config.me:
            self._alone_since = None

    async def _write(self, holder: str) -> Json:
        before: dict[str, Any] = (self._lease or {}).get("spec") or {}
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        same, transitions = before.get("holderIdentity") == holder, before.get("leaseTransitions") or 0
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": self._config.seconds,
            "acquireTime": (before.get("acquireTime") or now) if same or not holder else now,
            "renewTime": now,
            "leaseTransitions": transitions if same or not holder or self._lease is None else transitions + 1,
        }
        if self._lease is None:
            meta = {"name": self._config.name, "namespace": self._config.namespace}
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
            return await self._kube.create(discovery.leases(self._config.namespace), body)
        seen = self._lease["metadata"]
        return await self._kube.json_patch(
            discovery.leases(self._config.namespace, self._config.name),
            [
                {"op": "test", "path": "/metadata/uid", "value": seen["uid"]},
                {"op": "test", "path": "/metadata/resourceVersion", "value": seen["resourceVersion"]},
                {"op": "add", "path": "/spec", "value": spec},
            ],
        )

    def _end_term(self, why: str) -> None:
        if self._leads_since is not None:
            self._leads_since, self._acting_until = None, _NEVER
            _log.info("Lost leadership", lease=self._config.name, why=why)
            self._callbacks.end()
