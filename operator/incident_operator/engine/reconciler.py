"""One reconciliation of an Incident: gather, decide, act, record, and decide again until it must wait.

One that fails for good needs a person, for what stands in the log alone is not seen; one that fails now is tried again.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pydantic
import structlog

from incident_operator.api.incident import CLOSED_PHASES, Incident, Phase
from incident_operator.api.meta import ObjectKey
from incident_operator.core import reasons
from incident_operator.core import redactor as redactors
from incident_operator.core.alerts.matching import AlertScope
from incident_operator.core.expressions import cel
from incident_operator.core.machine import in_flight, machine
from incident_operator.core.machine.view import (
    AGES,
    Ask,
    Begin,
    Blocked,
    Decision,
    Stop,
    Transition,
    View,
    Wait,
    targets_of,
)
from incident_operator.core.outcomes import Failure, HelperError
from incident_operator.core.runbooks.reviews import ALL_ASK, Leave
from incident_operator.core.status.present import next_deadline
from incident_operator.engine.executor import Executor, OpenTargets
from incident_operator.engine.recorder import Progress, Recorder
from incident_operator.engine.runbooks import Runbooks
from incident_operator.kubernetes.errors import ApiError, Unreadable
from incident_operator.kubernetes.priority import Priority
from incident_operator.kubernetes.state import Gone, State, Superseded

MAX_TURNS = 500
"""Decisions in one reconciliation; more means that the machine goes in circles."""
LOOK_AGAIN = timedelta(minutes=10)
"""An open Incident is looked at this often whatever the watch says: a lost event must not leave it waiting."""
FOR_GOOD = 3
"""Visits in a row that have to fail: rights that were just given, or a proxy, may refuse one."""
_PASSING = (OSError, TimeoutError)
_AGAIN = "It is tried again."
_log = structlog.get_logger()


class FailedVisits:
    """Counts the failures in a row of each Incident."""

    def __init__(self) -> None:
        self._counts: dict[ObjectKey, int] = {}

    def forget(self, key: ObjectKey) -> None:
        """Note that a visit went well, or that the Incident is gone."""
        self._counts.pop(key, None)

    def is_for_good(self, key: ObjectKey, error: Exception) -> bool:
        """Note a failure, and tell whether trying again has not helped and cannot be expected to."""
        passes = error.retryable if isinstance(error, Failure) else isinstance(error, _PASSING)
        if passes:
            return False
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key] >= FOR_GOOD


def told(error: Exception) -> str:
    """Return what is wrong, in words for people; what a model was made from is left out, for it may be secret."""
    if isinstance(error, Failure):
        return f"The operator cannot go on: {error.message.rstrip('.')}. {_AGAIN}"
    if isinstance(error, pydantic.ValidationError):
        return f"The operator cannot go on: {error.title}: {cel.of_validation(error)}. {_AGAIN}"
    return f"The operator cannot go on: {type(error).__name__}; its log has the details. {_AGAIN}"


class GoesInCircles(Exception):
    """The machine decided too often without having to wait: a defect."""


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Drives one Incident at a time as far as it goes."""

    state: State
    runbooks: Runbooks
    executor: Executor
    recorder: Recorder
    clock: Callable[[], datetime]
    leave: Leave = ALL_ASK
    """What the operator's settings let run without asking."""
    stopping: Callable[[], bool] = bool
    """Whether the process is about to end, or leads no more: an act under way is recorded, and nothing more is begun or told."""
    led_for: Callable[[], timedelta] = lambda: AGES
    """How long this process has led."""
    scope: AlertScope = field(default_factory=AlertScope)
    """How severe an Incident of a namespace may be."""
    failed: FailedVisits = field(default_factory=FailedVisits)
    open_targets: OpenTargets = field(default_factory=OpenTargets)
    """What open Incidents act on, so that each hears of the others."""
    unstored: dict[ObjectKey, Progress] = field(default_factory=dict)
    """What is known of Incidents whose status could not be stored: nothing in the world may be able to tell it again."""

    @property
    def priority(self) -> Priority:
        """What tells whether something urgent is under way."""
        return self.executor.workers.priority

    async def reconcile(self, key: ObjectKey) -> datetime | None:
        """Do what can be done now; return when to come back, None for never: it is closed, or gone.

        Raises what kept it from going on; where that is for good, the Incident says so by then.
        """
        try:
            again = await self._visit(key)
        except Exception as error:
            if self.failed.is_for_good(key, error) and not self.stopping():
                await self._call_human(key, error)
            raise
        self.failed.forget(key)
        return again

    async def _visit(self, key: ObjectKey) -> datetime | None:
        self.executor.in_flight.listen(key)
        try:
            incident = await self.state.read(key.namespace, key.name)
            known = self.unstored.pop(key, None)
            progress = Progress.of(incident) if known is None else known.on(incident)
            if incident.status.phase in CLOSED_PHASES or incident.metadata.deletion_timestamp is not None:
                self._forget(key)
                return None
            self.recorder.expectations.read(key, incident.metadata.resource_version)
            with redactors.in_logs(self.executor.redactors.of(key, incident.metadata.uid).redactor):
                return await self._drive(progress)
        except Gone:
            self.unstored.pop(key, None)
            self._forget(key)
            return None
        finally:
            self.executor.in_flight.leave(key)

    async def _drive(self, progress: Progress) -> datetime | None:
        for _ in range(MAX_TURNS):
            await self._yield_to_urgent(progress.stored)
            key, view = _key(progress.stored), await self._view(progress.working)
            stopping = self.stopping()
            if stopping and not self.executor.in_flight.has(key):
                return None  # nothing was done here that would have to be told; whoever leads next looks at it anew
            try:
                decision = Wait(None) if stopping else await self._decided(progress, view)
                match decision:
                    case Progress():
                        progress = decision
                    case Wait(until):
                        progress = await self.recorder.rest(progress, view)
                        return _next_look(progress.stored, until, view.now)
                    case Stop():
                        await self.recorder.finish(progress, view)
                        self._forget(_key(progress.stored))
                        return None
                    case _ if in_flight.to_be_recorded(progress.stored.status, view, decision):
                        progress = await self.recorder.publish(progress, view)
                    case _:
                        progress = await self.executor.carry_out(progress, view, decision)
            except Superseded:
                progress = await self.recorder.read_again(progress)
            except ApiError:
                self.unstored[_key(progress.stored)] = progress
                raise
            except HelperError:
                # nobody can tell just now what comes next: what is known is stored, or kept here
                self.unstored[key] = progress
                with suppress(ApiError, Superseded):
                    self.unstored[key] = await self.recorder.publish(progress, view)
                raise
        raise GoesInCircles(progress.working.metadata.name)

    def _forget(self, key: ObjectKey) -> None:
        """Forget what was known of an Incident that is closed, or gone."""
        self.executor.redactors.forget(key)
        self.open_targets.forget(key)

    async def _decided(self, progress: Progress, view: View) -> Decision | Progress:
        """Return what to do next; where its evidence shows that the record is not to be relied on, the progress that knows that."""
        decision = await self.executor.turns.decide(view)
        match decision:
            case Ask() | Begin():
                relies_on_record = True
            case Wait():
                relies_on_record = view.status.pending_approval is not None
            case Transition(current):
                relies_on_record = current.phase is Phase.RESOLVED
            case _:
                relies_on_record = False
        if not relies_on_record:
            return decision
        checked = await self.recorder.checked(progress, view)
        return decision if checked is progress else checked

    async def _call_human(self, key: ObjectKey, error: Exception) -> None:
        """Say in the Incident why it cannot go on. Whatever keeps it from being said, the failure itself is what is raised."""
        kept = self.unstored.get(key)
        try:
            try:
                incident = await self.state.read(key.namespace, key.name)
            except (pydantic.ValidationError, Unreadable) as unreadable:
                await self.state.halt_unread(*key, reasons.VISIT_FAILED, told(unreadable))
                return
            masks = self.executor.redactors.of(key, incident.metadata.uid).redactor.masks
            stored = await self._halt(incident, Blocked(reasons.VISIT_FAILED, masks.text(told(error))))
            if kept is not None and not kept.is_overtaken_by(incident):
                self.unstored[key] = replace(kept, stored=stored)  # what could not be stored is known to the next visit
        except Exception as another:  # noqa: BLE001
            _log.warning(
                "A permanent failure could not be recorded", namespace=key[0], incident=key[1], error=str(another)
            )

    async def _halt(self, incident: Incident, why: Blocked) -> Incident:
        """Decide as without a Runbook, so that a person may still abort, and return what is stored then."""
        progress = Progress.of(incident)
        while True:
            view = View(progress.working, why, self.clock(), self.leave, self.led_for(), self.scope)
            match machine.decide(view):
                case Transition(status):
                    progress = progress.knowing(status)
                case Stop():
                    await self.recorder.finish(progress, view)
                    return progress.working
                case _:
                    return (await self.recorder.rest(progress, view)).stored

    async def _yield_to_urgent(self, incident: Incident) -> None:
        """Yield to what is urgent, unless an act has begun: its outcome is not kept in memory longer than it must."""
        if not self.executor.in_flight.has(_key(incident)):
            flow = self.priority.flow(incident.metadata.namespace, incident.spec.severity)
            await self.priority.yield_to_urgent(flow.is_urgent)

    async def _view(self, incident: Incident) -> View:
        runbook = await self.runbooks.in_force(incident)
        view = View(incident, runbook, self.clock(), self.leave, self.led_for(), self.scope)
        if isinstance(runbook, Blocked):
            return view
        key = _key(incident)
        self.open_targets.note(key, targets_of(view))
        return replace(view, others=self.open_targets.others(key))


def _key(incident: Incident) -> ObjectKey:
    return ObjectKey(incident.metadata.namespace, incident.metadata.name)


def _next_look(stored: Incident, until: datetime | None, now: datetime) -> datetime:
    promised = next_deadline(stored.status.objectives)
    if promised is not None and promised <= now:
        promised = None  # nobody judges it while no Runbook is in force: to wait for it would never end
    there = stored.status.acknowledgement
    runs_out = there.until if there is not None and there.until > now else None
    return min(filter(None, (until, promised, runs_out, now + LOOK_AGAIN)))
