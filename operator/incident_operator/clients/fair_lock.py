"""One thing at a time, and whoever waits for it takes turns: a namespace that asks often waits for those that ask seldom."""

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager


class FairLock:
    """A lock between threads that goes round those who ask for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, deque[object]] = OrderedDict()
        """Who waits, the one whose turn is next first."""
        self._held = False

    @contextmanager
    def held(self, who: str) -> Iterator[None]:
        """Hold it for the block's time, after everybody else who waits had as many turns as `who`."""
        self._take(who, object())
        try:
            yield
        finally:
            with self._changed:
                self._held = False
                self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """How many wait."""
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def _take(self, who: str, ticket: object) -> None:
        with self._changed:
            self._waiting.setdefault(who, deque()).append(ticket)
            self._changed.wait_for(lambda: not self._held and self._next() is ticket)
            self._held = True
            own = self._waiting.pop(who)
            own.popleft()
            if own:
                self._waiting[who] = own  # behind the others

    def _next(self) -> object:
        return next(iter(self._waiting.values()))[0]
