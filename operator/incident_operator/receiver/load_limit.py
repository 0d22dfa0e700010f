"""How much is in work at a time. What is beyond is told to come again: Alertmanager repeats a 503, and drops a 429.

Bytes count when they have arrived, not when they are announced: a sender that only announces takes nobody's room. A part comes on
top and is kept back, of bytes for small messages, whose severity can thus always be read, and of places for what is urgent.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from incident_operator.clients import priority

ARRIVING = 1024
"""Messages that may be on their way in at a time, however slowly; each has its own time limit."""
SMALL = 64 * 1024
"""A message of so many bytes may use what is kept back; Alertmanager's for one group is rarely longer."""


class OverloadedError(Exception):
    """There is enough in work already."""


class LoadLimit:
    """Counts the messages that arrive and that are stored, and the bytes that they take."""

    def __init__(self, max_posts: int, max_bytes: int, in_flight: Gauge) -> None:
        self._max_posts = max_posts
        self._max_bytes = max_bytes
        self._in_flight = in_flight
        self._arriving = 0
        self._posts = 0
        self._bytes = 0

    @contextmanager
    def arrival(self) -> Iterator["Arrival"]:
        """Let a message come in; its bytes are given back at the block's end. Raises `OverloadedError`."""
        if self._arriving >= ARRIVING:
            raise OverloadedError
        arrival = Arrival(self)
        self._arriving += 1
        try:
            yield arrival
        finally:
            arrival.arrived()
            self._bytes -= arrival.size

    @contextmanager
    def storing(self, *, urgent: bool) -> Iterator[None]:
        """Let a message be stored in the block. Raises `OverloadedError`."""
        kept = priority.kept_of(self._max_posts) if urgent else 0
        if self._posts >= self._max_posts + kept:
            raise OverloadedError
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def take(self, size: int, before: int) -> None:
        """Count bytes that came in of a message that has `before` already. Raises `OverloadedError`."""
        kept = priority.kept_of(self._max_bytes) if before + size <= SMALL else 0
        if self._bytes + size > self._max_bytes + kept:
            raise OverloadedError
        self._bytes += size

    def whole(self) -> None:
        """Count one message less that is on its way in."""
        self._arriving -= 1

    def _count(self, posts: int) -> None:
        self._posts += posts
        self._in_flight.set(self._posts)


class Arrival:
    """One message on its way in."""

    def __init__(self, load_limit: LoadLimit) -> None:
        self._load_limit = load_limit
        self._on_the_way = True
        self.size = 0
        """Bytes that have arrived."""

    def grow(self, size: int) -> None:
        """Count bytes that came in. Raises `OverloadedError`."""
        self._load_limit.take(size, self.size)
        self.size += size

    def arrived(self) -> None:
        """Say that nothing more comes; may be called twice."""
        if self._on_the_way:
            self._on_the_way = False
            self._load_limit.whole()
