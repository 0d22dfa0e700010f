"""A bounded number of workers: the severest first, then round the namespaces, one visit per key at a time, nothing forgotten.

A visit that waits for the world outside gives its worker back, and takes one again for what follows. So what hangs holds nobody up:
who shares what with whom is said in `kubernetes/priority.py`. The machine thinks on the event loop where all it evaluates is light, else
in a thread, which may wait for a helper: no Runbook may make the loop wait, neither for memory nor for the processor.
"""

import asyncio
import contextvars
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from incident_operator.api.incident import IncidentStatus
from incident_operator.api.meta import ObjectKey
from incident_operator.core.expressions import cel
from incident_operator.core.expressions.cel import Evaluator, NoAnswer, Problem
from incident_operator.core.expressions.weight import Weight
from incident_operator.core.machine import machine
from incident_operator.core.machine.carry_out import Request, Steps
from incident_operator.core.machine.view import Decision, Pinned, View
from incident_operator.core.runbooks.compiled import Compiled, expressions
from incident_operator.kubernetes import priority as figures
from incident_operator.kubernetes.fair_shares import FLOW, Flow, Seat, Seats
from incident_operator.kubernetes.priority import Priority, Yielding

_THREADS = 32
"""More than there are workers, so that none of them waits for a thread; for the helper, namespaces take turns."""
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_T = TypeVar("_T")


class Evaluates(Protocol):
    """Evaluates heavy expressions: `clients/evaluations.py`."""

    def of(self, namespace: str, *, must_answer: bool = False) -> Evaluator:
        """Return what evaluates for a namespace; it raises a retryable `Failure`, unless it has to answer."""
        ...


@dataclass(frozen=True, slots=True)
class Ended:
    """A decision is carried out; this is the status then."""

    status: IncidentStatus


class MachineTurns:
    """Runs what the core computes. Without an evaluator all is evaluated here, on the loop."""

    def __init__(self, evaluations: Evaluates | None = None) -> None:
        self._evaluations = evaluations
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="machine")

    async def decide(self, view: View) -> Decision:
        """Return what to do next. Raises a retryable `Failure` where it cannot be told just now."""
        return await self._run(view, partial(machine.decide, view))

    async def go_on(self, view: View, steps: Steps, answer: Any, *, must_answer: bool) -> Request | Ended:
        """Send an answer to what carries a decision out, and return what it asks for next.

        Raises the same, unless an act was done meanwhile (`must_answer`): then what cannot be evaluated is unknown.
        """
        return await self._run(view, partial(_sent, steps, answer), must_answer=must_answer)

    async def over_budget(self, namespace: str, compiled: Compiled) -> list[Problem]:
        """Return the expressions that take more than one may whatever they are given. Raises a retryable `Failure`."""
        if self._evaluations is None:
            return []
        evaluator = self._evaluations.of(namespace)
        return await self._in_thread(evaluator, partial(list, _over_budget(compiled)))

    async def _run(self, view: View, work: Callable[[], _T], *, must_answer: bool = False) -> _T:
        runbook = view.runbook
        if not isinstance(runbook, Pinned) or not runbook.compiled.heavy or self._evaluations is None:
            return work()
        evaluator = self._evaluations.of(view.incident.metadata.namespace, must_answer=must_answer)
        return await self._in_thread(evaluator, work)

    async def _in_thread(self, evaluator: Evaluator, work: Callable[[], _T]) -> _T:
        context = contextvars.copy_context()

        def run() -> _T:
            with cel.evaluated_by(evaluator):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, run)


def _over_budget(compiled: Compiled) -> Iterator[Problem]:
    for placed in expressions(compiled):
        if placed.program.weight is Weight.HEAVY and not placed.program.references:
            found = cel.evaluate(placed.program, {}, _ANY_TIME)
            if isinstance(found, NoAnswer) and found.over_budget:
                yield Problem(placed.path, found.why)


def _sent(steps: Steps, answer: Any) -> Request | Ended:
    try:
        return steps.send(answer)
    except StopIteration as ended:
        return Ended(ended.value)


def close(steps: Steps) -> None:
    """End it where it stands. One that a thread is in the middle of ends with that, and what it asks for is not done."""
    with suppress(ValueError):
        steps.close()


Work = Callable[[ObjectKey], Awaitable[None]]
Wanted = Callable[[], bool]
"""Tells, when the work under way is done, whether that has made working once more needless."""


@dataclass(slots=True, eq=False)
class _Visit:
    """One key that is worked on."""

    flow: Flow
    worker: Seat | None
    """None while it waits for the world outside."""


class Workers:
    """Works on every key that was added, as often as needed and never twice at once on the same key."""

    def __init__(
        self,
        priority: Priority | None = None,
        size: int = figures.WORKERS,
        must_yield: Callable[[], bool] = lambda: False,
    ) -> None:
        """`must_yield` tells whether what is mild is to wait a little, for something else goes first.

        Whoever works on what is urgent holds the `priority`, so that others do not begin anything beside it.
        """
        self.priority = priority or Priority()
        self._seats = Seats(size, kept=figures.kept_of(size), lends=True, may_begin=self._may_begin)
        self._yielding = Yielding(must_yield, size)
        self._looks: asyncio.Handle | None = None
        """Is going to look whose turn it is."""
        self._start: Callable[[ObjectKey, _Visit], None] | None = None
        """Starts to work on a key; None while nothing is worked on."""
        self._waiting: set[ObjectKey] = set()
        self._visits: dict[ObjectKey, _Visit] = {}
        self._under_way = Counter[str]()
        """Visits of each namespace, those that hold no worker among them."""
        self._again: dict[ObjectKey, tuple[Flow, Wanted | None]] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, key: ObjectKey, flow: Flow, wanted: Wanted | None = None) -> None:
        """Have the key worked on. A key that is being worked on is worked on once more after.

        If `wanted` is given, that is done only if it is true then; the newest `wanted` of a key speaks for the older ones.
        """
        if key in self._visits:
            earlier, other = self._again.get(key, (flow, wanted))
            self._again[key] = (min(flow, earlier), wanted if other is not None else None)
            return
        if key in self._waiting:
            return
        self._waiting.add(key)
        self._seats.ask(flow, partial(self._begin, key))
        if flow.is_urgent:
            self._seats.look()
        elif self._looks is None:  # the severest of all that comes in this moment is the first
            self._looks = asyncio.get_running_loop().call_soon(self._look)

    def clear(self) -> None:
        """Drop what waits to begin; what is being worked on goes on to its end."""
        self._seats.clear()
        self._waiting.clear()
        self._again.clear()

    @property
    def depth(self) -> int:
        """How many keys wait for a worker."""
        return len(self._waiting)

    async def idle(self) -> None:
        """Wait until nothing is in the middle of something, with or without a worker."""
        await self._idle.wait()

    async def run(self, work: Work) -> None:
        """Work until cancelled; an act that is interrupted is taken up again by the next process."""
        async with asyncio.TaskGroup() as visits:

            def start(key: ObjectKey, visit: _Visit) -> None:
                task = visits.create_task(self._visited(work, key, visit.flow))
                # not in the task itself, which may be cancelled before it has begun
                task.add_done_callback(lambda _: self._end(key, visit))

            self._start = start
            self._seats.look()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._start = None

    async def away(self, key: ObjectKey, waits: Awaitable[_T], *, urges: bool = False) -> _T:
        """Hold no worker while this waits for the world outside, once that takes long; afterwards one is held again.

        What `urges`, or fails, goes on at once though no worker is free. Whoever is cancelled goes on no more.
        """
        visit = self._visits.get(key)
        if visit is None:
            return await waits
        leaving = asyncio.get_running_loop().call_later(figures.AWAY_AFTER, self._leave, visit)
        try:
            result = await waits
        except Exception:
            self._return_at_once(visit)
            raise
        finally:
            leaving.cancel()
        if urges:
            self._return_at_once(visit)
        elif visit.worker is None:
            self._sit(visit, await self._seats.wait(visit.flow, returns=True))
        return result

    def _may_begin(self, flow: Flow) -> bool:
        most = figures.VISITS + (figures.kept_of(figures.VISITS) if flow.is_urgent else 0)
        if self._start is None or self._under_way[flow.namespace] >= most:
            return False
        if flow.is_urgent or self._yielding.may_begin():
            return True
        if self._looks is None:
            self._looks = asyncio.get_running_loop().call_later(figures.LOOK_EVERY, self._look)
        return False

    def _look(self) -> None:
        self._looks = None
        self._seats.look()

    def _begin(self, key: ObjectKey, worker: Seat) -> bool:
        if self._start is None:
            raise AssertionError("nothing may begin while nothing runs")
        self._waiting.discard(key)
        visit = self._visits[key] = _Visit(worker.flow, None)
        self._sit(visit, worker)
        self._under_way[visit.flow.namespace] += 1
        self._idle.clear()
        if not visit.flow.is_urgent:
            self._yielding.began()
        self._start(key, visit)
        return True

    async def _visited(self, work: Work, key: ObjectKey, flow: Flow) -> None:
        FLOW.set(flow)
        try:
            await work(key)
        except BaseException:
            self._start = None  # all of it ends
            raise

    def _end(self, key: ObjectKey, visit: _Visit) -> None:
        del self._visits[key]
        namespace = visit.flow.namespace
        self._under_way[namespace] -= 1
        if not self._under_way[namespace]:
            del self._under_way[namespace]
        if not self._visits:
            self._idle.set()
        flow, wanted = self._again.pop(key, (None, None))
        if flow is not None and (wanted is None or wanted()):
            self.add(key, flow)
        if visit.worker is None:
            self._seats.look()  # the namespace has a visit less
        self._leave(visit)

    def _leave(self, visit: _Visit) -> None:
        if visit.worker is not None:
            worker, visit.worker = visit.worker, None
            self.priority.release(visit.flow.is_urgent)
            self._seats.leave(worker)

    def _sit(self, visit: _Visit, worker: Seat) -> None:
        visit.worker = worker
        self.priority.hold(visit.flow.is_urgent)

    def _return_at_once(self, visit: _Visit) -> None:
        if visit.worker is None:
            self._sit(visit, self._seats.at_once(visit.flow))
