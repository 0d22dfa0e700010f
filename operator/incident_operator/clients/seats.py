"""So many at a time, shared fairly: the severest first, then round the namespaces, none holding over half while another waits."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from incident_operator.core.fair_queue import FairQueue, Flow

OWN = Flow("", 0)
"""Whose turn it is that is done for nobody: it is the operator's own, and goes first."""
FLOW: ContextVar[Flow] = ContextVar("flow", default=OWN)
"""For whom a task does what it does."""


@dataclass(slots=True, eq=False)
class Seat:
    """A place that somebody holds."""

    flow: Flow
    is_kept: bool
    """Whether it is one of those that only what is urgent gets."""


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits for a place."""

    flow: Flow
    sit: Callable[[Seat], bool]
    """Takes the place; False where nobody is there any more."""
    returns: bool
    """Whether it is in the middle of something: it goes before those of its flow who have not begun, and nothing holds it back."""


class Seats:
    """Places. Where nobody else waits, one namespace may hold all of them."""

    def __init__(
        self, size: int, *, kept: int = 0, lends: bool = False, may_begin: Callable[[Flow], bool] = lambda _: True
    ) -> None:
        """`kept` places come on top, for what is urgent. `may_begin` is asked before somebody who does not return sits down.

        Where places are held for long (`lends`), what a namespace holds beyond its half is lent: it does not count once another
        waits, so that others find their half at once, and at most one and a half times as many are held.
        """
        self._size, self._kept = size, kept
        self._lends = lends
        self._may_begin = may_begin
        self._queue = FairQueue[Waiter]()
        self._held = Counter[str]()
        self._kept_held = Counter[str]()
        self._used = self._kept_used = self._lent = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    @property
    def waiting_at(self) -> dict[int, int]:
        """How many wait at each level at which any do."""
        return self._queue.levels()

    @property
    def used(self) -> int:
        """How many places are held, the kept ones among them."""
        return self._used + self._kept_used

    @property
    def most(self) -> int:
        """How many places may be held at a time, the lent ones among them."""
        return self._size + self._kept + (self._size - self._half if self._lends else 0)

    @property
    def _half(self) -> int:
        return max(1, self._size // 2)

    @asynccontextmanager
    async def taken(self, flow: Flow) -> AsyncIterator[None]:
        """Hold a place for the block; waits until it is this one's turn."""
        seat = await self.wait(flow)
        try:
            yield
        finally:
            self.leave(seat)

    async def wait(self, flow: Flow, *, returns: bool = False) -> Seat:
        """Return a place as soon as it is this one's turn; whoever is cancelled meanwhile holds none."""
        if not self._queue and self._used < self._size and (returns or self._may_begin(flow)):
            return self._seated(flow, kept=False)  # as `look` would, at a third of the cost
        turn: asyncio.Future[Seat] = asyncio.get_running_loop().create_future()

        def sit(seat: Seat) -> bool:
            if not turn.done():
                turn.set_result(seat)
                return True
            return False

        waiter = self.ask(flow, sit, returns=returns)
        self.look()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(turn.result())
            else:
                self._queue.remove(flow, waiter)
            raise

    def ask(self, flow: Flow, sit: Callable[[Seat], bool], *, returns: bool = False) -> Waiter:
        """Have `sit` called with a place at the first `look` at which it is this one's turn."""
        waiter = Waiter(flow, sit, returns)
        self._queue.push(flow, waiter, _has_not_begun if returns else None)
        return waiter

    def at_once(self, flow: Flow) -> Seat:
        """Return a place although there may be none: for what must not wait. Others wait the longer."""
        return self._seated(flow, kept=False)

    def leave(self, seat: Seat) -> None:
        """Give a place back."""
        self._unseat(seat)
        self.look()

    def look(self) -> None:
        """Give places to whose turn it is: to be called after `ask`, and when what held somebody back is over."""
        while self._queue and (found := self._next()) is not None:
            waiter, seat = found
            if not waiter.sit(seat):
                self._unseat(seat)

    def resize(self, size: int, kept: int) -> None:
        """Have another number of places; where there are fewer now, those held are given back first."""
        self._size, self._kept = size, kept
        self._lent = sum(max(0, held - self._half) for held in self._held.values())
        self.look()

    def clear(self) -> None:
        """Forget who waits to begin."""
        self._queue.keep(lambda waiter: waiter.returns)

    def _next(self) -> tuple[Waiter, Seat] | None:
        """Return whose turn it is, with a place. Shares count first; where they leave a place over, whoever wants it has it."""
        room = self._used < self._size
        waiter: Waiter | None = None
        if room or (self._lends and self._used - self._lent < self._size):
            waiter = self._queue.pop(self._within_half)
        if waiter is None and room:
            waiter = self._queue.pop(self._is_let)
        if waiter is not None:
            return waiter, self._seated(waiter.flow, kept=False)
        if self._kept_used < self._kept:
            waiter = self._queue.pop(self._within_kept, only_urgent=True)
            waiter = waiter or self._queue.pop(self._is_let, only_urgent=True)
        return (waiter, self._seated(waiter.flow, kept=True)) if waiter is not None else None

    def _within_half(self, flow: Flow, waiter: Waiter) -> bool:
        return self._held[flow.namespace] < self._half and self._is_let(flow, waiter)

    def _within_kept(self, flow: Flow, waiter: Waiter) -> bool:
        return not self._kept_held[flow.namespace] and self._is_let(flow, waiter)

    def _is_let(self, flow: Flow, waiter: Waiter) -> bool:
        return waiter.returns or self._may_begin(flow)

    def _seated(self, flow: Flow, *, kept: bool) -> Seat:
        if kept:
            self._kept_used += 1
            self._kept_held[flow.namespace] += 1
        else:
            self._used += 1
            self._held[flow.namespace] += 1
            self._lent += self._held[flow.namespace] > self._half
        return Seat(flow, kept)

    def _unseat(self, seat: Seat) -> None:
        held = self._kept_held if seat.is_kept else self._held
        if seat.is_kept:
            self._kept_used -= 1
        else:
            self._used -= 1
            self._lent -= held[seat.flow.namespace] > self._half
        held[seat.flow.namespace] -= 1
        if not held[seat.flow.namespace]:
            del held[seat.flow.namespace]


def _has_not_begun(waiter: Waiter) -> bool:
    return not waiter.returns
