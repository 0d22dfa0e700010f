"""Keeps visiting what needs a visit: woken by events, deadlines and failures, severest first; while this process leads."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from incident_operator.api.meta import Severity
from incident_operator.clients import kube
from incident_operator.clients.right_of_way import RightOfWay
from incident_operator.engine.deadlines import Deadlines
from incident_operator.engine.keys import Key
from incident_operator.engine.pool import URGENT, Pool, Wanted

Visit = Callable[[Key], Awaitable[datetime | None]]
_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 60.0
_RANKS = {severity.value: rank for rank, severity in enumerate(Severity)}
_log = structlog.get_logger()


class Driver:
    """Visits keys until cancelled. A visit that fails is repeated with growing pauses, never forgotten.

    One that rests only remembers what it is asked for, and looks at all of it when it starts.
    """

    def __init__(
        self,
        visit: Visit,
        clock: Callable[[], datetime],
        *,
        workers: int = 16,
        what: str = "Incident",
        gives_way: Callable[[], bool] = lambda: False,
        way: RightOfWay | None = None,
        rests: bool = False,
    ) -> None:
        """`gives_way` tells whether visits of less severe keys are to wait a little, for something else goes first.

        The visits of severe keys hold the `way`, so that others do not begin anything beside them.
        """
        self._visit = visit
        self._clock = clock
        self._what = what
        self._way = way or RightOfWay()
        self._pool = Pool(self._work, workers, gives_way)
        self._deadlines = Deadlines(clock, self._wake)
        self._rests = rests
        self._ranks: dict[Key, int] = {}
        """Every key that was asked for and is not gone."""
        self._failures: dict[Key, int] = {}

    def start(self) -> None:
        """Look at everything that is known, severest first, and go on from there."""
        self._rests = False
        for key in self._ranks:
            self._wake(key)

    def rest(self) -> None:
        """Begin no more visits, and forget what waits for one; those under way go on to their end."""
        self._rests = True
        self._pool.clear()
        self._deadlines.clear()
        self._failures.clear()

    def add(self, key: Key, severity: str = "", wanted: Wanted | None = None) -> None:
        """Have a key visited as soon as a worker is free; P0 before P1 and so on, as last told.

        One that is being visited is visited again, unless `wanted` is given and says at the end that it is needless.
        """
        if severity or key not in self._ranks:
            self._ranks[key] = _RANKS.get(severity, len(_RANKS))
        self._wake(key, wanted)

    def add_later(self, key: Key, seconds: float) -> None:
        """Have a key visited after a pause, unless something wakes it earlier."""
        self._ranks.setdefault(key, len(_RANKS))
        self._look_at(key, self._clock() + timedelta(seconds=seconds))

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a key that is gone."""
        self._deadlines.set(key, None)
        self._ranks.pop(key, None)
        self._failures.pop(key, None)

    async def idle(self) -> None:
        """Wait until nothing is in the middle of a visit."""
        await self._pool.idle()

    @property
    def ticked_at(self) -> datetime:
        """When the deadlines were last looked at."""
        return self._deadlines.ticked_at

    @property
    def depth(self) -> int:
        """How many keys wait for a worker."""
        return self._pool.depth

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pool.run())
            tasks.create_task(self._deadlines.run())

    def _wake(self, key: Key, wanted: Wanted | None = None) -> None:
        if not self._rests:
            self._pool.add(key, self._ranks.get(key, len(_RANKS)), wanted)

    def _look_at(self, key: Key, at: datetime) -> None:
        if not self._rests:
            self._deadlines.bring_forward(key, at)

    async def _work(self, key: Key) -> None:
        # it is looked at now; a moment that is told from here on was told by something that this visit may not see
        self._deadlines.set(key, None)
        try:
            with self._way.held(self._ranks.get(key, len(_RANKS)) <= URGENT):
                again = await self._visit(key)
        except asyncio.CancelledError:
            if _ends():
                raise
            _log.exception(f"{self._what} visit was cancelled from within", namespace=key.namespace, name=key.name)
            self._back_off(key)
        except kube.ApiError as error:
            _log.warning(f"{self._what} visit failed", namespace=key.namespace, name=key.name, error=str(error))
            self._back_off(key)
        except Exception:  # noqa: BLE001 # a defect met by one Incident must not end the others
            _log.exception(f"{self._what} visit failed", namespace=key.namespace, name=key.name)
            self._back_off(key)
        else:
            self._failures.pop(key, None)
            if again is not None:
                self._look_at(key, again)

    def _back_off(self, key: Key) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_later(key, min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** min(failures, 10)))


def _ends() -> bool:
    """Tell whether this worker itself was told to end; else a library's own cancellation leaked out of a visit."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
