"""The process's clock: the time of day as it was at the start, carried on by a clock that nobody sets.

The machine's own clock may jump; it counts once, at the start. From then on seconds are counted steadily, and the clock is only ever
moved forward, to where the apiserver's answers say that it is at least. So a jump changes no approval, no pause and no time-out. A
clock that is too far ahead ends things early, and they are asked again; one that is behind, which would end them late, is put right.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import structlog

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

    def __call__(self) -> datetime:
        """Return the time."""
        return self._at + timedelta(seconds=self._steady() - self._since)

    def hear(self, date: str) -> None:
        """Take in an answer's `Date`; what is not a date tells nothing."""
        try:
            told = parsedate_to_datetime(date).astimezone(UTC)
        except (ValueError, OverflowError):
            return
        behind = told - self()
        if behind <= timedelta():
            return
        if behind > _WORTH_TELLING:
            _log.warning("The clock was behind the apiserver's and is moved forward", seconds=behind.total_seconds())
        self._at, self._since = told, self._steady()
