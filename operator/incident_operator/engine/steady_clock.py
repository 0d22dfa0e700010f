"""The process's clock: the time of day as it was at the start, carried on by a clock that nobody sets.

The machine's own clock may jump; it counts once, at the start. From then on seconds are counted steadily, and the clock is only ever
moved forward, to where the apiserver's answers say that it is at least. So a jump changes no approval, no pause and no time-out. A
clock that is too far ahead ends things early, and they are asked again; one that is behind, which would end them late, is put right.

Nothing but a new process brings it back, and by a clock that is days ahead closed Incidents are old enough to be deleted. So one
answer alone moves it by a day at most; by more only a second one does, a later one that says the same; and by years none.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from incident_operator.core import http_date

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
        told = http_date.moment(date)
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
