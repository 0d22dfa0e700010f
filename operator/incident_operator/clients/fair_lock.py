"""One thing at a time, between threads: whose turn it is follows the rule of `clients/priority.py`."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from incident_operator.clients.seats import Seat, Seats
from incident_operator.core.fair_queue import Flow


class FairLock:
    """A lock between threads: the severest first, and within a severity it goes round the namespaces that ask for it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._seats = Seats(1)
        """The one place; looked at and changed only with the guard."""

    @contextmanager
    def held(self, flow: Flow) -> Iterator[None]:
        """Hold it for the block's time; waits until it is this one's turn."""
        seat = self._asked(flow).result()
        try:
            yield
        finally:
            with self._guard:
                self._seats.leave(seat)

    @property
    def waiting(self) -> int:
        """How many wait."""
        with self._guard:
            return self._seats.waiting

    def _asked(self, flow: Flow) -> Future[Seat]:
        turn = Future[Seat]()

        def sit(seat: Seat) -> bool:
            turn.set_result(seat)
            return True

        with self._guard:
            self._seats.ask(flow, sit)
            self._seats.look()
        return turn
