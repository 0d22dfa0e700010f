"""How much is in work at a time. What is beyond is told to come again: Alertmanager repeats a 503, and drops a 429."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Gauge


class OverloadedError(Exception):
    """There is enough in work already."""


class Admission:
    """Counts the messages in work and the bytes that their bodies may take."""

    def __init__(self, max_posts: int, max_bytes: int, in_flight: Gauge) -> None:
        self._max_posts = max_posts
        self._max_bytes = max_bytes
        self._in_flight = in_flight
        self._posts = 0
        self._bytes = 0

    @contextmanager
    def enter(self, size: int) -> Iterator[None]:
        """Let a message of that many bytes in for the block. Raises `OverloadedError`."""
        if self._posts >= self._max_posts or self._bytes + size > self._max_bytes:
            raise OverloadedError
        self._add(1, size)
        try:
            yield
        finally:
            self._add(-1, -size)

    def _add(self, posts: int, size: int) -> None:
        self._posts += posts
        self._bytes += size
        self._in_flight.set(self._posts)
