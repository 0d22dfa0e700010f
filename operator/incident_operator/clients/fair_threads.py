"""Threads that namespaces share fairly.

The loop's own threads are such, too: in them host names are looked up, which takes as long as somebody's name server likes.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from incident_operator.clients.seats import FLOW, Seat, Seats


class FairThreads(ThreadPoolExecutor):
    """So many threads, each used by whose turn it is; half as many more, where one namespace holds over half."""

    def __init__(self, size: int, name: str) -> None:
        """`name` is what the threads' names begin with."""
        self._seats = Seats(size, lends=True)
        super().__init__(self._seats.most, thread_name_prefix=name)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have something done in a thread once it is its turn, on behalf of whoever submits it in the loop's own thread."""
        loop, told = asyncio.get_running_loop(), Future[Any]()

        def sit(seat: Seat) -> bool:
            if not told.set_running_or_notify_cancel():
                return False
            try:
                work = super(FairThreads, self).submit(fn, *args, **kwargs)
            except RuntimeError as error:  # it is closed
                told.set_exception(error)
                return False
            # a thread may go on long after nobody waits for it any more
            work.add_done_callback(lambda done: _leave(loop, self._seats, seat, done, told))
            return True

        self._seats.ask(FLOW.get(), sit)
        self._seats.look()
        return told


def _leave(loop: asyncio.AbstractEventLoop, seats: Seats, seat: Seat, done: Future[Any], told: Future[Any]) -> None:
    """Hand on what came of it, and give the place back; called in the thread."""
    with suppress(RuntimeError):  # the loop is closed, and with it whoever waits
        loop.call_soon_threadsafe(seats.leave, seat)
    if done.cancelled():
        told.set_exception(asyncio.CancelledError())
    elif (error := done.exception()) is not None:
        told.set_exception(error)
    else:
        told.set_result(done.result())
