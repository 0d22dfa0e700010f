"""Keeps reconciling what needs it: woken by events, delayed adds and failures, each in its turn; while this process leads."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from incident_operator.api.meta import ObjectKey
from incident_operator.clients import kube
from incident_operator.clients.helper_process import HelperError
from incident_operator.core.fair_queue import Flow
from incident_operator.engine.delayed_adds import DelayedAdds
from incident_operator.engine.workers import Wanted, Workers

Reconcile = Callable[[ObjectKey], Awaitable[datetime | None]]
_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 60.0
_log = structlog.get_logger()


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
        except (kube.ApiError, HelperError) as error:
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
