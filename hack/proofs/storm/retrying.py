"""When Alertmanager sends a notification again, and when it gives up. Pure.

Its webhook retries what did not get an answer and 5xx, never 4xx (a 429 neither); pauses are those of its library
`backoff`: 0.5 s, half as long again each time, at most 60 s, each drawn from 50 to 150 per cent.
"""

from collections.abc import Iterator
from enum import StrEnum
from random import Random

_FIRST, _FACTOR, _LONGEST, _SPREAD = 0.5, 1.5, 60.0, 0.5


class Fate(StrEnum):
    """What becomes of a notification after an answer, or none."""

    TOLD = "told"
    AGAIN = "again"
    DROPPED = "dropped"


def fate(status: int | None) -> Fate:
    """Judge an answer; None stands for a network error."""
    if status is None or status >= 500:
        return Fate.AGAIN
    return Fate.TOLD if 200 <= status < 300 else Fate.DROPPED


def pauses(random: Random, scale: float = 1.0) -> Iterator[float]:
    """Seconds between attempts, without end; `scale` makes all of them shorter for tests."""
    pause = _FIRST
    while True:
        yield scale * pause * random.uniform(1 - _SPREAD, 1 + _SPREAD)
        pause = min(_LONGEST, pause * _FACTOR)
