"""What was refused at the door, in the log: a line for each sender and status at most once a minute, and few lines of all.

A sender that is refused is dropped in silence by Alertmanager, so somebody has to be told; one that floods must not fill the log.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

import structlog

from incident_operator.core import texts

EVERY = 60.0
"""Seconds between two lines about the same sender and status."""
LINES = 20
"""Lines within that time, whoever the senders are."""
_REMEMBERED = 256
_SHOWN = 500
_log = structlog.get_logger()


class RefusalLog:
    """Tells of refused requests. What it is told must hold no token."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._untold = 0
        self._since = float("-inf")
        self._lines = 0

    def tell(self, sender: str | None, status: int, reason: str, remedy: str) -> None:
        """Log a refusal, unless the same was logged a moment ago, or too much was; what was left out is counted in the next line."""
        now, key = self._clock(), (sender or "unknown", status)
        if now - self._since >= EVERY:
            self._since, self._lines = now, 0
        if now - self._last.get(key, float("-inf")) < EVERY or self._lines >= LINES:
            self._untold += 1
            return
        self._remember(key, now)
        more = {"others_not_logged": self._untold} if self._untold else {}
        told = {"sender": key[0], "status": status, "error": texts.cut(texts.visible(reason), _SHOWN)}
        _log.warning("Refused a request", **told, **({"remedy": remedy} if remedy else {}), **more)
        self._untold = 0
        self._lines += 1

    def _remember(self, key: tuple[str, int], now: float) -> None:
        self._last[key] = now
        self._last.move_to_end(key)
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
