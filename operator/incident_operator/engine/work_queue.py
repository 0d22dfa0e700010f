"""Keeps reconciling what needs it: woken by events, delayed adds and failures, each in its turn; while this process leads.

One heap holds every moment at which something has to be looked at again. Small work off the path is started and not waited for, but
finished before the process ends.

`SteadyClock` is the process's time of day. The machine's own clock may jump, so it counts once, at the start; from then on seconds are counted
steadily, and the clock is only ever moved forward, to where the apiserver's answers say that it is at least. So a jump changes no approval,
no pause and no time-out. A clock that is too far ahead ends things early, and they are asked again; one that is behind, which would end
them late, is put right. Nothing but a new process brings it back, and by a clock that is days ahead closed Incidents are old enough to be
deleted: so one answer alone moves it by a day at most, by more only a second, later one that says the same, and by years none.
"""

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

import structlog

from incident_operator.api.meta import ObjectKey
from incident_operator.core.outcomes import HelperError, moment
from incident_operator.engine.workers import Wanted, Workers
from incident_operator.kubernetes import apiserver
from incident_operator.kubernetes.fair_shares import Flow
from incident_operator.kubernetes.priority import Priority

AT_ONCE = timedelta(days=1)
"""How far the clock is moved by one answer."""
AT_MOST = timedelta(days=3653)
"""How far ahead of the machine's clock at the start any answer may bring it: a machine that is further behind trusts no certificate."""
_AGREES = timedelta(seconds=30)
_WORTH_TELLING = timedelta(seconds=30)
_log = structlog.get_logger()


def steady() -> float:
    """Return seconds of a clock that nobody sets, and that goes on while the machine is suspended where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class SteadyClock:
    """Call it for the time (UTC). It never goes back."""

    def __init__(self, wall: Callable[[], datetime], steady: Callable[[], float] = steady) -> None:
        """`wall` is the machine's own clock, `steady` counts seconds from any moment."""
        self._steady = steady
        self._at, self._since = wall(), steady()
        self._started, self._began = self._at, self._since
        self._doubted: timedelta | None = None
        """How far ahead an answer was that is not believed yet."""

    def __call__(self) -> datetime:
        """Return the time."""
        return self._at + timedelta(seconds=self._steady() - self._since)

    def hear(self, date: str) -> None:
        """Take in an answer's `Date`; what is not a date tells nothing."""
        told = moment(date)
        if told is None:
            return
        behind = told - self()
        if not self._is_believed(told, behind) or behind <= timedelta():
            return
        if behind > _WORTH_TELLING:
            _log.warning("The clock was behind the apiserver's and is moved forward", seconds=behind.total_seconds())
        self._at, self._since = told, self._steady()

    def _is_believed(self, told: datetime, behind: timedelta) -> bool:
        before, self._doubted = self._doubted, None
        if behind <= AT_ONCE:
            return True
        far = told - self._started > AT_MOST + timedelta(seconds=self._steady() - self._began)
        if not far and before is not None and abs(behind - before) <= _AGREES:
            return True
        self._doubted = behind
        if before is None:
            _log.warning("An answer of the apiserver has a date that is not believed", seconds=behind.total_seconds())
        return False


_SLACK = 64
"""Moments no longer wanted that the heap may hold beyond twice the wanted ones before it is cleared of them."""
_LONGEST_SLEEP = 60.0
"""Seconds, so that a clock that jumps cannot put everything to sleep."""


class DelayedAdds:
    """Wakes keys at their moments; each key has at most one moment, the newest one set."""

    def __init__(self, clock: Callable[[], datetime], wake: Callable[[ObjectKey], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._heap: list[tuple[datetime, ObjectKey]] = []
        self._at: dict[ObjectKey, datetime] = {}
        self._changed = asyncio.Event()
        self.ticked_at = steady()
        """When the heap was last looked at, by a clock that nobody sets: a liveness probe that cannot lie."""

    def set(self, key: ObjectKey, at: datetime | None) -> None:
        """Wake the key at that moment instead of any moment set before; None forgets it."""
        if at is None:
            self._at.pop(key, None)
            return
        self._at[key] = at
        heapq.heappush(self._heap, (at, key))
        self._drop_unwanted()
        self._changed.set()

    def bring_forward(self, key: ObjectKey, at: datetime) -> None:
        """Wake the key at that moment, unless an earlier one was set before."""
        known = self._at.get(key)
        if known is None or at < known:
            self.set(key, at)

    def clear(self) -> None:
        """Forget every moment."""
        self._heap.clear()
        self._at.clear()

    async def run(self) -> None:
        """Wake keys as their moments come, until cancelled."""
        while True:
            self._wake_due()
            self._changed.clear()
            try:
                async with asyncio.timeout(self._seconds_to_next()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _drop_unwanted(self) -> None:
        if len(self._heap) > 2 * len(self._at) + _SLACK:
            self._heap = [(at, key) for key, at in self._at.items()]
            heapq.heapify(self._heap)

    def _wake_due(self) -> None:
        now, self.ticked_at = self._clock(), steady()
        while self._heap and (self._heap[0][0] <= now or self._is_stale()):
            at, key = heapq.heappop(self._heap)
            if self._at.get(key) == at:
                del self._at[key]
                self._wake(key)

    def _is_stale(self) -> bool:
        at, key = self._heap[0]
        return self._at.get(key) != at

    def _seconds_to_next(self) -> float:
        if not self._heap:
            return _LONGEST_SLEEP
        return min(_LONGEST_SLEEP, max(0.0, (self._heap[0][0] - self._clock()).total_seconds()))


class Background:
    """Holds tasks until they are done. None begins while something urgent has priority."""

    def __init__(self, priority: Priority) -> None:
        self._priority = priority
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start work; an error that it does not handle itself is logged."""
        task = asyncio.create_task(self._in_time(work))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def drain(self, seconds: float = 2.0) -> None:
        """Wait for what is under way, in bounded time; what is left then is dropped."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _in_time(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await self._priority.yield_to_urgent(urgent=False)
        except asyncio.CancelledError:
            work.close()
            raise
        await work

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("Work in the background failed", exc_info=error)


Reconcile = Callable[[ObjectKey], Awaitable[datetime | None]]
_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 60.0


class WorkQueue:
    """Reconciles keys until cancelled. One that fails is repeated with growing pauses, never forgotten.

    A paused one only remembers what it is asked for, and looks at all of it when it resumes.
    """

    def __init__(
        self,
        reconcile: Reconcile,
        clock: Callable[[], datetime],
        workers: Workers | None = None,
        *,
        what: str = "Incident",
        paused: bool = False,
    ) -> None:
        """Reconcile with these workers, which are this queue's own."""
        self._reconcile = reconcile
        self._clock = clock
        self._what = what
        self._workers = workers or Workers()
        self._delayed = DelayedAdds(clock, self._wake)
        self._paused = paused
        self._flows: dict[ObjectKey, Flow] = {}
        """Every key that was asked for and is not gone, and whose turn it is."""
        self._failures: dict[ObjectKey, int] = {}

    def resume(self) -> None:
        """Look at everything that is known, severest first, and go on from there."""
        self._paused = False
        for key in sorted(self._flows, key=lambda key: self._flows[key].level):
            self._wake(key)

    def pause(self) -> None:
        """Begin no more reconciliations, and forget what waits for one; those under way go on to their end."""
        self._paused = True
        self._workers.clear()
        self._delayed.clear()
        self._failures.clear()

    def add(self, key: ObjectKey, severity: str = "", wanted: Wanted | None = None) -> None:
        """Have a key reconciled as soon as it is its turn; P0 before P1 and so on, as last told.

        One that is being reconciled is reconciled again, unless `wanted` is given and says at the end that it is needless.
        """
        if severity or key not in self._flows:
            self._flows[key] = self._flow(key, severity)
        self._wake(key, wanted)

    def add_later(self, key: ObjectKey, seconds: float) -> None:
        """Have a key reconciled after a pause, unless something wakes it earlier."""
        self._flows.setdefault(key, self._flow(key))
        self._look_at(key, self._clock() + timedelta(seconds=seconds))

    def forget(self, key: ObjectKey) -> None:
        """Drop what is remembered of a key that is gone."""
        self._delayed.set(key, None)
        self._flows.pop(key, None)
        self._failures.pop(key, None)

    async def idle(self) -> None:
        """Wait until nothing is in the middle of a reconciliation."""
        await self._workers.idle()

    @property
    def ticked_at(self) -> float:
        """When the delayed adds were last looked at, in seconds of the steady clock."""
        return self._delayed.ticked_at

    @property
    def depth(self) -> int:
        """How many keys wait for a worker."""
        return self._workers.depth

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._workers.run(self._work))
            tasks.create_task(self._delayed.run())

    def _wake(self, key: ObjectKey, wanted: Wanted | None = None) -> None:
        if not self._paused:
            self._workers.add(key, self._flows.get(key) or self._flow(key), wanted)

    def _flow(self, key: ObjectKey, severity: str = "") -> Flow:
        return self._workers.priority.flow(key.namespace, severity)

    def _look_at(self, key: ObjectKey, at: datetime) -> None:
        if not self._paused:
            self._delayed.bring_forward(key, at)

    async def _work(self, key: ObjectKey) -> None:
        # it is looked at now; a moment that is set from here on was set by something that this reconciliation may not see
        self._delayed.set(key, None)
        try:
            again = await self._reconcile(key)
        except asyncio.CancelledError:
            if _ends():
                raise
            _log.exception(
                f"{self._what} reconciliation was cancelled from within", namespace=key.namespace, name=key.name
            )
            self._back_off(key)
        except (apiserver.ApiError, HelperError) as error:
            _log.warning(
                f"{self._what} reconciliation failed", namespace=key.namespace, name=key.name, error=str(error)
            )
            self._back_off(key)
        except Exception:  # noqa: BLE001 # a defect met by one Incident must not end the others
            _log.exception(f"{self._what} reconciliation failed", namespace=key.namespace, name=key.name)
            self._back_off(key)
        else:
            self._failures.pop(key, None)
            if again is not None:
                self._look_at(key, again)

    def _back_off(self, key: ObjectKey) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_later(key, min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** min(failures, 10)))


def _ends() -> bool:
    """Tell whether this worker itself was told to end; else a library's own cancellation leaked out of a reconciliation."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
