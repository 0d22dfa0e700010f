"""Priority and fairness: who goes first, and how much of what all share one namespace may hold. The rule, and its figures.

What is done belongs to a flow: the namespace that it is done for, at the severity of its alert, or at the most that the chart lets
that namespace have (`severityCeiling`).

1. The severest goes first; within a severity the turn goes round the namespaces.
2. P0 and P1 are urgent. Of all that there is so many of, one in `KEPT_OF` is kept for them, at least one.
3. While something urgent is taken in or visited, what is milder begins no new request, `LONGEST` seconds at a time: then it goes on,
   so that nothing starves that is mild. An act that has begun is recorded first.
4. While another namespace waits, none holds over half of anything, nor more than one of what is kept. Where none waits, one may hold all.
5. A visit that waits for the world outside holds no worker, from `AWAY_AFTER` seconds on. So that this fills no memory, a namespace has
   `VISITS` visits under way at most.
6. The intake has as many requests on their way to the apiserver as that takes well, which is learned from how long its writes take.

| of | there are | who asks |
|---|---|---|
| workers | `WORKERS`, and 2 for what is urgent | `engine/workers.py`, before a visit begins or goes on |
| requests of the intake | 3 to 16, one or two of them for what is urgent | `receiver/store.py` |
| messages, and their bytes | as set, and an eighth for what is urgent or small | `receiver/metrics.py` |
| threads for PromQL | `THREADS` | `clients/prometheus.py` |
| threads for host names, and what else the loop has done in one | `LOOKUPS` | `app.py`, for the whole loop |
| sessions of one database | `SESSIONS` | `clients/sql.py` |
| the helper for expressions, and one of its own for a query that ended another | 1 each | `kubernetes/fair_shares.py`, `clients/queries.py` |
| Alertmanagers read at a time | `READERS` | `receiver/polling.py` |

Workers, threads, sessions and readers can be held for long, so those beyond a namespace's half are lent (`kubernetes/fair_shares.py`).

Measured on two cores, in a storm: the first act of a P0 comes after 2.1 times what it takes alone where four others write to the
apiserver, 2.8 where six do, 3.2 at eight, 6 at sixteen; the intake of four and of eight differs by less than its spread. Without 3, one
process and one apiserver would serve it beside every Incident that is being worked on.

How many requests at a time a server takes well, learned from how long it takes to answer. Pure.

A gradient limiter, as TCP Vegas and Netflix' concurrency-limits have it. A server answers at its own pace while it has a free
core for each request; from there on more requests only wait in it, and each takes longer:

    limit ← limit · (long · tolerance / short) + queue

`long` is what an answer takes while hardly anything else is asked, `short` what it takes now. The factor is between 0.3 and 1, so
that the limit can fall to its least and not below, and it moves a fifth of the way at a time. With a server of K cores it comes to
rest at about `tolerance · K + queue`: 5 on the two cores on which 5 was measured to be best.

`long` rises only with answers to a few requests at a time, else it would follow the very waiting that it is to tell. A server that has
become slower for good, or that others keep busy, so drives the limit down, to about 5 while it is asked without a pause; in the next lull
`long` is learned anew, and the limit rises again.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache

from incident_operator.api.meta import Severity
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failure
from incident_operator.kubernetes.fair_shares import Flow, Seats

LEAST, MOST = 3, 16
TOLERANCE = 1.5
"""How many times as long an answer may take before the limit falls."""
QUEUE = 2.0
"""What the limit grows by where nothing waits, so that more is tried."""
_SMOOTHING = 0.2
_LOWEST_GRADIENT = 0.3
_AFTER_DROP = 0.7
_FEW = LEAST - 1
"""So many at a time say what an answer takes by itself."""
_SHORT, _LONG = 10, 50
"""Answers over which the two times are averaged."""


@dataclass(frozen=True, slots=True)
class GradientLimit:
    """What is known after so many answers."""

    exact: float = 5.0
    """The limit, which moves in parts; before it knows better it is what suited an apiserver on two cores."""
    long: float | None = None
    short: float | None = None

    @property
    def whole(self) -> int:
        """How many requests may be under way at a time."""
        return int(self.exact)

    def after(self, seconds: float, under_way: int) -> "GradientLimit":
        """Return the limit after an answer that took so long, while so many requests were under way, itself among them."""
        short = _averaged(self.short, seconds, _SHORT)
        long = short if self.long is None else self.long
        if short < long or under_way <= _FEW:
            long = _averaged(long, short, _LONG)
        learned = GradientLimit(self.exact, long, short)
        if under_way * 2 < self.exact:
            return learned  # so few say nothing of how many would be too many
        return learned._towards(self.exact * _gradient(long, short) + QUEUE)

    def after_drop(self) -> "GradientLimit":
        """Return the limit after a request that was turned away, or not answered in time."""
        return replace(self, exact=max(float(LEAST), self.exact * _AFTER_DROP))

    def _towards(self, wanted: float) -> "GradientLimit":
        exact = self.exact + _SMOOTHING * (wanted - self.exact)
        return replace(self, exact=min(float(MOST), max(float(LEAST), exact)))


def _gradient(long: float, short: float) -> float:
    if short <= 0:
        return 1.0  # answered within the clock's own grain
    return max(_LOWEST_GRADIENT, min(1.0, TOLERANCE * long / short))


def _averaged(average: float | None, new: float, over: int) -> float:
    return new if average is None else average + (new - average) / over


KEPT_OF = 8
WORKERS = 16
VISITS = 32
"""Of one namespace, under way at a time; `KEPT_OF` says how many come on top for what is urgent."""
AWAY_AFTER = 1.0
"""Seconds: what is answered sooner keeps its worker, so that there are no more requests at a time to a busy apiserver than workers."""
THREADS = 4
LOOKUPS = 8
SESSIONS = 4
READERS = 4
LONGEST = 2.0
LOOK_EVERY = 0.05
"""Seconds between two looks whether what goes first is done."""
_LEVELS = {severity.value: level for level, severity in enumerate(Severity)}
MILDEST = len(_LEVELS)
"""The level of what has no severity."""


def kept_of(number: int) -> int:
    """Return how many of so many are kept for what is urgent."""
    return max(1, number // KEPT_OF)


class Priority:
    """Held by what is urgent; what is milder yields."""

    def __init__(self, most: Mapping[str, Severity] | None = None, longest: float = LONGEST) -> None:
        """`most` says how severe anything of a namespace counts at the most."""
        self._most = {namespace: _LEVELS[severity] for namespace, severity in (most or {}).items()}
        self._longest = longest
        self._holders = 0
        self._free = asyncio.Event()
        self._free.set()
        self._expiry: asyncio.TimerHandle | None = None
        self._listeners: list[Callable[[], None]] = []
        self.writes = Writes(self)
        """The intake's requests to the apiserver."""

    def flow(self, namespace: str, severity: str = "") -> Flow:
        """Return whose turn something of a namespace is."""
        return _flow(namespace, max(_LEVELS.get(severity, MILDEST), self._most.get(namespace, 0)))

    @property
    def is_held(self) -> bool:
        """Whether something urgent is under way, and has been for the first seconds only."""
        return not self._free.is_set()

    @property
    def must_yield(self) -> bool:
        """Whether visits that are mild are to wait a little before they begin."""
        return self.writes.waiting > 0 or self.is_held

    def when_free(self, listener: Callable[[], None]) -> None:
        """Call the listener each time that it becomes free."""
        self._listeners.append(listener)

    @contextmanager
    def held(self, urgent: bool) -> Iterator[None]:
        """Hold it for the block, together with other holders; what is not urgent holds nothing."""
        self.hold(urgent)
        try:
            yield
        finally:
            self.release(urgent)

    def hold(self, urgent: bool) -> None:
        """Hold it until `release`, where this is urgent."""
        if urgent:
            self._holders += 1
            self._begin()

    def release(self, urgent: bool) -> None:
        """Hold it no longer."""
        if urgent:
            self._holders -= 1
            # its visit follows on an alert's storing in this very moment; nothing milder gets between the two
            asyncio.get_running_loop().call_soon(self._end)

    async def yield_to_urgent(self, urgent: bool) -> None:
        """Wait until nothing urgent is under way, but not for long; what is urgent itself goes on at once."""
        if urgent or not self.is_held:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._longest):
                while self.is_held:
                    await self._free.wait()

    def _begin(self) -> None:
        if self._holders == 1 and not self.is_held:
            self._free.clear()
            self._expiry = asyncio.get_running_loop().call_later(self._longest, self._set_free)

    def _end(self) -> None:
        if not self._holders and self.is_held:
            self._set_free()

    def _set_free(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self._free.set()
        for listener in self._listeners:
            listener()


class Writes:
    """The intake's requests to the apiserver: as many at a time as it takes well, none mild while something urgent is under way."""

    def __init__(
        self, priority: Priority, limit: GradientLimit | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._priority = priority
        self._clock = clock
        self._limit = limit or GradientLimit()
        size, kept = _places(self._limit.whole)
        self._seats = Seats(size, kept=kept, may_begin=self._may_begin)
        priority.when_free(self._seats.look)

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return self._seats.waiting

    @property
    def under_way(self) -> int:
        """How many are on their way to the apiserver."""
        return self._seats.used

    @property
    def limit(self) -> int:
        """How many may be under way at a time."""
        return self._limit.whole

    def waiting_of(self, severity: str) -> int:
        """Return how many wait of a severity, or of none: those of a namespace that counts as milder are among the milder."""
        return self._seats.waiting_at.get(_LEVELS.get(severity, MILDEST), 0)

    @asynccontextmanager
    async def taken(self, flow: Flow, *, writes: bool = False) -> AsyncIterator[None]:
        """Hold a place for the block; waits until it is this one's turn. Where the block is one write, its time is learned from."""
        with self._priority.held(flow.is_urgent):
            seat = await self._seats.wait(flow)
            began, under_way = self._clock(), self._seats.used
            try:
                yield
            except (Failure, asyncio.CancelledError) as error:
                if not isinstance(error, Failure) or error.reason == reasons.CONNECTION_FAILED:
                    self._learned(self._limit.after_drop())
                raise
            finally:
                self._seats.leave(seat)
            if writes:
                self._learned(self._limit.after(self._clock() - began, under_way))

    def _may_begin(self, flow: Flow) -> bool:
        return flow.is_urgent or not self._priority.is_held

    def _learned(self, limit: GradientLimit) -> None:
        before, self._limit = self._limit.whole, limit
        if limit.whole != before:
            self._seats.resize(*_places(limit.whole))


def _places(limit: int) -> tuple[int, int]:
    kept = kept_of(limit)
    return limit - kept, kept


@lru_cache(maxsize=4096)
def _flow(namespace: str, level: int) -> Flow:
    return Flow(namespace, level)  # one for all that waits in it, not one each


class Yielding:
    """Holds back what is mild while something else goes first: `LONGEST` seconds, then so many begin, and it yields anew."""

    def __init__(self, must_yield: Callable[[], bool], at_a_time: int) -> None:
        self._must_yield = must_yield
        self._at_a_time = self._left = at_a_time
        self._until: float | None = None

    def may_begin(self) -> bool:
        """Tell whether something mild may begin now."""
        if not self._must_yield():
            self._until = None
            return True
        now = asyncio.get_running_loop().time()
        if self._until is None:
            self._until, self._left = now + LONGEST, self._at_a_time
        return now >= self._until

    def began(self) -> None:
        """Note that something mild began."""
        self._left -= 1
        if not self._left:
            self._until = None
