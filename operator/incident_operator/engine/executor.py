"""Carries decisions out: does in the world what `core/machine/carry_out.py` asks for, and hears of an abort meanwhile.

Nothing is decided here. The core asks for four things: that a status is stored, that a call is previewed, that calls are run,
and whether approvals can be trusted; each is answered within bounded time. What a call does and brings is told in `engine/calls.py`.

`InFlight` knows which Incidents have an act under way, `OpenTargets` which objects the open ones act on, as this process has learned
while it visited them: one that has just begun to lead visits every open Incident, so it knows soon.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any, Protocol, TypeVar, assert_never

import structlog

from incident_operator.api.incident import Incident, StepRecord
from incident_operator.api.meta import ObjectKey
from incident_operator.core.action import Action, Call, Markers
from incident_operator.core.machine import answers, carry_out, status
from incident_operator.core.machine.carry_out import Do, How, Now, Ran, Request, Show, Store, Together, Trust
from incident_operator.core.machine.view import Transition, Turn, View
from incident_operator.engine import workers
from incident_operator.engine.calls import Calls, Redactors
from incident_operator.engine.metrics import EngineMetrics
from incident_operator.engine.recorder import Progress, Recorder
from incident_operator.engine.workers import Ended, MachineTurns, Workers
from incident_operator.kubernetes import apiserver
from incident_operator.kubernetes.state import Gone, Superseded


class InFlight:
    """Counts the acts whose outcome is not recorded yet, so that a process that ends can wait for exactly these.

    Beside them it keeps whether an abort was seen while its Incident is worked on: whoever works on it listens.
    """

    def __init__(self) -> None:
        self._keys: set[ObjectKey] = set()
        self._aborted: dict[ObjectKey, bool] = {}
        self._waiting: dict[ObjectKey, asyncio.Future[None]] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def listen(self, key: ObjectKey) -> None:
        """Keep an abort that comes from now on, until whoever works on the Incident takes it, or leaves."""
        self._aborted.setdefault(key, False)

    def enter(self, key: ObjectKey) -> None:
        """Note that an act is about to begin."""
        self._keys.add(key)
        self._idle.clear()

    def leave(self, key: ObjectKey) -> None:
        """Note that what was begun is recorded, or given up, and that nobody listens any more."""
        self._aborted.pop(key, None)
        self._keys.discard(key)
        if not self._keys:
            self._idle.set()

    def has(self, key: ObjectKey) -> bool:
        """Tell whether an act of that Incident is under way."""
        return key in self._keys

    async def idle(self) -> None:
        """Wait until no act is under way."""
        await self._idle.wait()

    def abort_came(self, key: ObjectKey) -> None:
        """Tell whoever works on an Incident that it was aborted; where nobody does, the next reconciliation sees it."""
        if key in self._aborted:
            self._aborted[key] = True
            _wake(self._waiting.get(key))

    async def aborted_before(self, key: ObjectKey, work: "asyncio.Future[Any]") -> bool:
        """Wait until the work is done (False), or somebody aborts the Incident, be it at that very moment (True).

        Each abort is told once, and the work goes on. `asyncio.wait` would do as well, at a multiple of the cost.
        """
        self.listen(key)
        if not self._aborted[key] and not work.done():
            woken = self._waiting[key] = asyncio.get_running_loop().create_future()
            work.add_done_callback(lambda _: _wake(woken))
            try:
                await woken
            finally:
                del self._waiting[key]
        aborted, self._aborted[key] = self._aborted[key], False
        return aborted


def _wake(waiting: "asyncio.Future[None] | None") -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


_MOST = 50
"""Incidents that are told of one object."""
_Object = tuple[str, str]
"""Namespace, and the object as kubectl writes it."""


class OpenTargets:
    """A few texts for each open Incident."""

    def __init__(self, is_open: Callable[[ObjectKey], bool] = lambda _: True) -> None:
        """`is_open` tells of an Incident that nobody visits any more whether it counts still."""
        self._is_open = is_open
        self._of: dict[ObjectKey, frozenset[str]] = {}
        self._by_object: dict[_Object, dict[ObjectKey, None]] = {}

    def note(self, incident: ObjectKey, targets: frozenset[str]) -> None:
        """Remember what an open Incident acts on now."""
        known = self._of.get(incident, frozenset())
        if known == targets:
            return
        self.forget(incident)
        if targets:
            self._of[incident] = targets
        for target in targets:
            self._by_object.setdefault((incident.namespace, target), {})[incident] = None

    def forget(self, incident: ObjectKey) -> None:
        """Drop an Incident that is closed or gone."""
        for target in self._of.pop(incident, ()):
            at = (incident.namespace, target)
            found = self._by_object[at]
            del found[incident]
            if not found:
                del self._by_object[at]

    def others(self, incident: ObjectKey) -> Mapping[str, tuple[str, ...]]:
        """Return, for each object of an Incident that others act on too, the names of these, the oldest first."""
        found = {target: self._besides(incident, target) for target in self._of.get(incident, ())}
        return {target: names for target, names in found.items() if names}

    def _besides(self, incident: ObjectKey, target: str) -> tuple[str, ...]:
        at = (incident.namespace, target)
        self._drop_closed(each for each in list(islice(self._by_object[at], _MOST)) if each != incident)
        return tuple(each.name for each in islice(self._by_object[at], _MOST) if each != incident)

    def _drop_closed(self, incidents: Iterable[ObjectKey]) -> None:
        for each in incidents:
            if not self._is_open(each):
                self.forget(each)


_NOTE_AGAIN = 1.0
"""Seconds until an abort is noted again that could not be."""
_WORTH_TELLING = 1.5
"""Seconds that a read, or a trial, takes before the Incident says what it is at: quick ones cost no write."""
_T = TypeVar("_T")
_log = structlog.get_logger()


class NotLeading(Exception):
    """Another process leads, or none: what has not begun is left to the one that may."""


class Trusts(Protocol):
    """Says whether approvals can be trusted right now."""

    async def problem(self, incident: Incident | None = None, plan_hash: str = "") -> str:
        """Return why not, for people; empty where they can."""
        ...


@dataclass(frozen=True, slots=True)
class Executor:
    """Does what is asked for. Every method returns the progress with what came of it, most of it not stored yet."""

    actions: Mapping[str, Action[Any]]
    markers: Markers
    policies: Trusts
    recorder: Recorder
    metrics: EngineMetrics
    redactors: Redactors
    in_flight: InFlight
    clock: Callable[[], datetime]
    nonce: Callable[[], str]
    may_act: Callable[[], bool] = lambda: True
    """Whether this process leads at this moment: asked before each intent and each act, since it may have been halted."""
    workers: Workers = field(default_factory=Workers)
    """Whose workers reconcile: one that waits for the world outside is given back meanwhile."""
    turns: MachineTurns = field(default_factory=MachineTurns)
    """What the machine thinks with."""

    @property
    def calls(self) -> Calls:
        """What previews and runs calls."""
        return Calls(self.actions, self.redactors, self.clock)

    async def carry_out(self, progress: Progress, view: View, decision: Turn) -> Progress:
        """Carry a decision out. Raises `Superseded` where the Incident changed before an act began, or was aborted."""
        answer: Any = None
        ran: list[Call[Any]] = []
        steps = carry_out.carry_out(view, decision, nonce=self.nonce(), mark=self.markers.of)
        acted = False
        try:
            while True:
                request = await self.turns.go_on(view, steps, answer, must_answer=acted)
                if isinstance(request, Ended):
                    return self._finished(progress.knowing(request.status), ran)
                try:
                    if _may_read(request) and self.redactors.is_due(view):
                        await self._unless_aborted(view, self.redactors.feed(view))
                    progress, answer = await self._answered(progress, view, request)
                except NotLeading:
                    return progress
                ran += [each.call for each in _runs(request)]
                acted = acted or _is_act(request)
        finally:
            workers.close(steps)

    async def _answered(self, progress: Progress, view: View, request: Request) -> tuple[Progress, Any]:
        match request:
            case Store():
                return await self._stored(progress, view, request)
            case Trust(plan_hash):
                incident = progress.working if plan_hash else None
                return progress, await self._unless_aborted(view, self.policies.problem(incident, plan_hash))
            case Now():
                return progress, self.clock()
            case Show():
                return await self._shown(progress, view, request)
            case Together():
                return await self._read(progress, view, request)
            case Do(how=How.ACT):
                progress, done = await self._acted(progress, view, request)
                return _with_evidence(progress, request, done), done
            case Do(how=How.RESERVE) if not self.may_act():
                raise NotLeading
            case Do():
                each = await self._unless_aborted(view, self.calls.ran(request))
                return _with_evidence(progress, request, each), each
            case _:
                assert_never(request)

    async def _shown(self, progress: Progress, view: View, show: Show) -> tuple[Progress, Any]:
        """Preview a call; what is tried out for people may take long."""
        if show.trial:
            return await self._told_if_slow(progress, view, self.calls.shown(show))
        return progress, await self._unless_aborted(view, self.calls.shown(show))

    async def _read(self, progress: Progress, view: View, together: Together) -> tuple[Progress, list[Ran]]:
        """Run reads together."""
        seen = view if together.status is None else view.with_status(together.status)
        asked = asyncio.gather(*(self.calls.ran(each) for each in together.reads))
        progress, found = await self._told_if_slow(progress, seen, asked)
        for read, each in zip(together.reads, found, strict=True):
            progress = _with_evidence(progress, read, each)
        return progress, found

    async def _stored(self, progress: Progress, view: View, request: Store) -> tuple[Progress, Incident]:
        key = _key(view)
        current = view.with_incident(progress.working.model_copy(update={"status": request.status}))
        if request.intent:
            if not self.may_act():
                raise NotLeading
            self.in_flight.enter(key)
        progress = await self.recorder.publish(progress, current, intent=request.intent)
        return progress, progress.stored

    async def _acted(self, progress: Progress, view: View, act: Do) -> tuple[Progress, Ran]:
        """Run an act to its end. An abort that comes meanwhile is recorded, and does not cut it off: nobody could tell then."""
        if not self.may_act():
            raise NotLeading
        call, key = act.call, _key(view)
        self.in_flight.enter(key)
        where = {"namespace": call.namespace, "incident": call.incident}
        _log.info("Step begins", **where, step=call.step, attempt=call.attempt, key=call.key[:12])
        work = asyncio.create_task(self.calls.ran(act))
        try:
            progress = await self._away(key, self._noting_aborts(progress, view, work))
            return progress, replace(work.result(), incident=progress.working)
        finally:
            work.cancel()

    async def _noting_aborts(self, progress: Progress, view: View, act: asyncio.Task[Ran]) -> Progress:
        while not act.done():
            if await self.in_flight.aborted_before(_key(view), act):
                progress = await self._note_abort(progress, view)
        return progress

    async def _note_abort(self, progress: Progress, view: View) -> Progress:
        """Record that nothing more is begun, while the act goes on. What keeps it from being recorded is tried again.

        Where another process leads by now, it records the abort, and this one's outcome is of no account any more.
        """
        if not self.may_act():
            return progress
        try:
            fresh = await self.recorder.read_again(progress)
            if progress.is_overtaken_by(fresh.stored):
                return progress
            seen = replace(view.with_incident(fresh.working), now=self.clock())
            noted = answers.aborted(seen)
            if not isinstance(noted, Transition):
                return fresh
            return await self.recorder.publish(fresh, seen.with_status(noted.status))
        except (Superseded, Gone, apiserver.ApiError) as error:
            _log.warning("An abort could not be recorded", incident=view.incident.metadata.name, error=str(error))
            asyncio.get_running_loop().call_later(_NOTE_AGAIN, self.in_flight.abort_came, _key(view))
            return progress

    async def _told_if_slow(self, progress: Progress, view: View, work: Awaitable[_T]) -> tuple[Progress, _T]:
        """Wait for what changes nothing, unless aborted. Where that takes long, the Incident says meanwhile what it is at."""
        telling = asyncio.Event()
        slow = asyncio.create_task(self._tell_slow(progress, view, telling))
        try:
            found = await self._unless_aborted(view, work)
        except asyncio.CancelledError:
            slow.cancel()
            raise
        finally:
            if not telling.is_set():
                slow.cancel()
            if not slow.cancelling():
                # a write that has begun is not cut off: nobody could tell which version is stored then
                await asyncio.wait([slow])
        return (slow.result() if telling.is_set() else progress), found

    async def _tell_slow(self, progress: Progress, view: View, telling: asyncio.Event) -> Progress:
        await asyncio.sleep(_WORTH_TELLING)
        telling.set()
        if not self.may_act():
            return progress
        try:
            return await self.recorder.publish(progress, view)
        except (
            Superseded,
            Gone,
            apiserver.ApiError,
        ) as error:  # what comes next is stored all the same, or tells why not
            _log.debug(
                "The progress of a long step was not recorded", incident=view.incident.metadata.name, error=str(error)
            )
            return progress

    async def _unless_aborted(self, view: View, work: Awaitable[_T]) -> _T:
        """Wait for what changes nothing, and drop it where the Incident is aborted. Raises `Superseded` then."""
        task = asyncio.ensure_future(work)
        try:
            await self._away(_key(view), self._done_unless_aborted(view, task))
            return task.result()
        finally:
            task.cancel()

    async def _done_unless_aborted(self, view: View, work: "asyncio.Future[Any]") -> None:
        if await self.in_flight.aborted_before(_key(view), work):
            raise Superseded(view.incident.metadata.name)

    def _away(self, key: ObjectKey, waits: Awaitable[_T]) -> Awaitable[_T]:
        """Hold no worker while the world is waited for. What came of an act is known to nobody else: it goes on at once then."""
        return self.workers.away(key, waits, urges=self.in_flight.has(key))

    def _finished(self, progress: Progress, ran: list[Call[Any]]) -> Progress:
        for call in ran:
            record = status.known(progress.working.status, call.step)
            self.metrics.steps.labels(call.stage.value, call.action, record.state.value).inc()
            _log_finished(call, record)
        return progress


def _log_finished(call: Call[Any], record: StepRecord) -> None:
    where = {"namespace": call.namespace, "incident": call.incident, "step": call.step}
    _log.info("Step finished", **where, state=record.state.value, summary=record.summary)


def _runs(request: Request) -> tuple[Do, ...]:
    match request:
        case Together(reads):
            return reads
        case Do(how=How.ACT | How.LOOK):
            return (request,)
        case _:
            return ()


def _is_act(request: Request) -> bool:
    return isinstance(request, Do) and request.how is How.ACT


def _with_evidence(progress: Progress, request: Do, ran: Ran) -> Progress:
    unstored = progress.unstored.adding(request.call.step, ran.evidence)
    return progress if unstored is progress.unstored else replace(progress, unstored=unstored)


def _key(view: View) -> ObjectKey:
    return ObjectKey(view.incident.metadata.namespace, view.incident.metadata.name)


def _may_read(request: Request) -> bool:
    """Tell whether a request may bring back a text. Between an intent and its act nothing else is asked for."""
    return isinstance(request, Show | Together) or (isinstance(request, Do) and request.how is How.LOOK)
