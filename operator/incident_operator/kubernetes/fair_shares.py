"""Turns that namespaces share fairly: the severest first, within a severity round the namespaces.

As in Kubernetes' API Priority and Fairness, what waits belongs to a flow: here a namespace, at a priority level. `Seats` are so many at a
time, none holding over half while another waits; `FairLock` is one at a time, between threads; `FairThreads` are threads, the event loop's
own among them, in which host names are looked up, which takes as long as somebody's name server likes.
"""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

URGENT = 1
"""The mildest level that is urgent: P1."""
_T = TypeVar("_T")


class Flow(NamedTuple):
    """Whose turn it is."""

    namespace: str
    level: int
    """0 for P0, 1 for P1, and so on; the lowest goes first."""

    @property
    def is_urgent(self) -> bool:
        """Whether it goes before the others, and may use what is kept back from them."""
        return self.level <= URGENT


class FairQueue(Generic[_T]):
    """Items in the order in which they have their turn."""

    def __init__(self) -> None:
        self._levels: dict[int, dict[str, deque[_T]]] = {}
        """Level → namespace → what waits. The namespace that had its turn longest ago comes first."""
        self._length = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return self._length

    def levels(self) -> dict[int, int]:
        """Return how many wait at each level at which any do."""
        return {level: sum(map(len, lines.values())) for level, lines in self._levels.items()}

    def push(self, flow: Flow, item: _T, before: Callable[[_T], bool] | None = None) -> None:
        """Add an item after those of its flow, or before the first of them for which `before` is true."""
        line = self._levels.setdefault(flow.level, {}).setdefault(flow.namespace, deque())
        at = None if before is None else next((at for at, other in enumerate(line) if before(other)), None)
        line.insert(len(line) if at is None else at, item)
        self._length += 1

    def pop(self, may: Callable[[Flow, _T], bool] = lambda *_: True, *, only_urgent: bool = False) -> _T | None:
        """Remove and return whose turn it is, of those that may have it; None where nobody may."""
        for level in sorted(self._levels):
            if only_urgent and level > URGENT:
                return None
            for namespace, line in self._levels[level].items():
                if may(Flow(namespace, level), line[0]):
                    return self._taken(level, namespace)
        return None

    def remove(self, flow: Flow, item: _T) -> bool:
        """Remove an item; False where it does not wait any more."""
        line = self._levels.get(flow.level, {}).get(flow.namespace, deque())
        if item not in line:
            return False
        line.remove(item)
        self._length -= 1
        self._tidy(flow.level, flow.namespace)
        return True

    def keep(self, wanted: Callable[[_T], bool]) -> None:
        """Remove every item that is not wanted."""
        for level, lines in list(self._levels.items()):
            for namespace, line in list(lines.items()):
                lines[namespace] = deque(item for item in line if wanted(item))
                self._length -= len(line) - len(lines[namespace])
                self._tidy(level, namespace)

    def _taken(self, level: int, namespace: str) -> _T:
        lines = self._levels[level]
        line = lines.pop(namespace)
        item = line.popleft()
        lines[namespace] = line  # now the last whose turn it is
        self._length -= 1
        self._tidy(level, namespace)
        return item

    def _tidy(self, level: int, namespace: str) -> None:
        lines = self._levels[level]
        if not lines[namespace]:
            del lines[namespace]
        if not lines:
            del self._levels[level]


def in_turn(items: Iterable[_T], flow_of: Callable[[_T], Flow]) -> list[_T]:
    """Return the items in the order in which they have their turn."""
    queue = FairQueue[_T]()
    ordered: list[_T] = []
    for item in items:
        queue.push(flow_of(item), item)
    while (item := queue.pop()) is not None:  # type: ignore[assignment] # None ends it, and is not an item
        ordered.append(item)
    return ordered


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
