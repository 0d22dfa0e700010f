"""Plays the world around the core: the engine's three effects (store, preview, run) against scripted outcomes and a clock.

Nothing that decides is written here a second time: `core/machine/carry_out.py` runs as the engine drives it. All memory is lost
at a crash.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from incident_operator.api.approvals import PendingApproval
from incident_operator.api.incident import CLOSED_PHASES, AlertStatus, Incident, IncidentStatus, StepState, Verb
from incident_operator.core import reasons
from incident_operator.core.action import Call, Preview
from incident_operator.core.machine import carry_out, in_flight, machine, status
from incident_operator.core.machine.carry_out import Do, How, Now, Ran, Request, Show, Store, Together, Trust
from incident_operator.core.machine.view import Blocked, Stop, Turn, View, Wait
from incident_operator.core.outcomes import Effect, Failed, Failure, NotDone, Outcome, Pending, Succeeded
from incident_operator.core.runbooks.compiled import Compiled
from incident_operator.core.runbooks.reviews import ALL_ASK, Leave, UnaskedStep, digest_of
from incident_operator.core.status import present
from tests.core.builders import START, alert, incident, view
from tests.core.machine import invariants

OK = Succeeded({"json": {"done": True}, "status": 200, "rows": [], "before": 2, "after": 5}, "ok")
MAX_TURNS = 300
Script = Outcome | Callable[[], Outcome]


class Crashed(Exception):
    """The operator was killed here."""


@dataclass(frozen=True, slots=True)
class Effected:
    """An effect that really happened in the simulated world."""

    record: str
    key: str
    at: datetime


@dataclass(slots=True)
class Simulation:
    """One Incident, everything outside of it, and the operator that drives it."""

    compiled: Compiled | Blocked
    """The Runbook as it is now, or why there is none."""
    stored: Incident = field(default_factory=incident)
    now: datetime = START
    script: dict[str, list[Outcome]] = field(default_factory=dict)
    """Outcomes of a record's next runs, in order; after them all goes well."""
    does: dict[str, str] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the preview of a step says, where it is not the usual."""
    gone: Blocked | None = None
    """Why the Runbook cannot be used just now."""
    talks: bool = False
    """Whether people say what nobody asked for: that it is over, that they are on it, that all is to be undone. Explored by itself."""
    policy_problem: str = ""
    preview_problem: Failure | None = None
    excluded: tuple[str, ...] | None = ()
    """Who edited the Runbook; None where it is not known."""
    leave: Leave = ALL_ASK
    """What the settings let run without asking."""
    crash_at: int | None = None
    effects: list[Effected] = field(default_factory=list)
    markers: dict[str, Outcome] = field(default_factory=dict)
    under_way: set[str] = field(default_factory=set)
    """Keys of acts that go on in the world; what does not end otherwise ends well."""
    begun: set[str] = field(default_factory=set)
    """Keys under which an act was begun."""
    writes: int = 0
    phases: list[str] = field(default_factory=list)
    moments: int = 0
    ran: list[str] = field(default_factory=list)
    """Records whose action was asked for an outcome."""
    snapshots: "list[Simulation] | None" = None
    """What is left of the world if the operator is killed at each moment, where that is wanted."""
    seen: dict[str, str] = field(default_factory=lambda: {"job": "made", "uid": "u-1"})
    """What the intent of a Job keeps."""
    unreserved: list[Outcome] = field(default_factory=list)
    """Outcomes of the next reservations, in order, which come to nothing."""
    probed: bool = True
    """What a probe finds out: whether the effect had happened."""

    def reconcile(self) -> datetime | None:
        """Drive the Incident as far as it goes; return when to come back."""
        if self.stored.status.phase in CLOSED_PHASES:
            return None
        working = self.stored.status
        for _ in range(MAX_TURNS):
            seen = self.view(working)
            decision = machine.decide(seen)
            invariants.check_decision(seen, decision)
            if isinstance(decision, Wait | Stop):
                self.write(seen)
                return decision.until if isinstance(decision, Wait) else None
            if in_flight.to_be_recorded(self.stored.status, seen, decision):
                self.write(seen)
                working = self.stored.status
                continue
            after = self.carry_out(seen, decision)
            invariants.check_facts(after)
            invariants.check_change(working, after)
            working = after
        raise AssertionError(f"goes in circles: {working.message}")

    def view(self, current: IncidentStatus) -> View:
        """What the machine sees, with a status that may not be stored yet."""
        subject = self.stored.model_copy(update={"status": current})
        return view(self.gone or self.compiled, subject, self.now, self.excluded, leave=self.leave)

    def carry_out(self, seen: View, decision: Turn) -> IncidentStatus:
        """Carry one decision out, by the very code that the engine drives."""
        nonce = f"{self.moments}/{len(seen.status.approvals)}"
        steps = carry_out.carry_out(seen, decision, nonce=nonce)
        answer: Any = None
        while True:
            try:
                request = steps.send(answer)
            except StopIteration as ended:
                return ended.value
            answer = self.answer(seen, request)

    def answer(self, seen: View, request: Request) -> Any:
        """Do what is asked for."""
        match request:
            case Trust():
                return self.policy_problem
            case Now():
                return self.now
            case Show(call):
                return self.preview(call.step)
            case Store(current):
                self.write(seen.with_status(current))
                return self.stored
            case Together(reads):
                return [Ran(self._found(seen, each.call.step), self.now) for each in reads]
            case Do(how=How.RESERVE):
                self.moment()
                if self.unreserved:
                    return Ran(self.unreserved.pop(0), self.now)
                return Ran(OK, self.now, reserved=self.seen)
            case Do(call, how=How.LOOK):
                return Ran(self.look(call), self.now)
            case Do(call, effect):
                return Ran(self.act(call, effect), self.now)

    def preview(self, step: str) -> Preview | Failure:
        """What a preview of the step says now."""
        if self.preview_problem is not None:
            return self.preview_problem
        do = self.does.get(step, f"do {step}")
        return Preview(do, self.details.get(step, {}), bound=self.does.get(step, step))

    def write(self, seen: View) -> None:
        """Store what is known, unless it is stored already."""
        shown, _ = present.present(seen)
        if present.significant(shown) == present.significant(self.stored.status):
            return
        stored = Incident.model_validate(self.stored.model_copy(update={"status": shown}).to_json())
        invariants.check_shown(shown, stored.status)
        self.moment()
        self.stored = stored
        self.writes += 1
        if self.phases[-1:] != [shown.phase.value]:
            self.phases.append(shown.phase.value)
        self.moment()

    def act(self, call: Call[Any], effect: Effect) -> Outcome:
        """Do it; what really happened is noted in `effects`."""
        record = status.known(self.stored.status, call.step)
        assert record.state is StepState.RUNNING, "the intent is stored before the act"
        assert record.key == call.key
        again = call.key in self.begun
        assert not again or effect is Effect.KEYED_CALL, "nothing but what bears a key is sent twice"
        self.begun.add(call.key)
        self.moment()
        if call.key in self.markers and effect is Effect.KEYED_CALL:
            return self.markers[call.key]
        outcome = self._noted(call, self._next_outcome(call.step))
        self.moment()
        return outcome

    def look(self, call: Call[Any]) -> Outcome:
        """Find its marker, or that it certainly was not done; a script may say otherwise."""
        self.ran.append(call.step)
        if self.script.get(call.step) or call.key in self.under_way:
            return self._noted(call, self._next_outcome(call.step))
        return self.markers.get(call.key, NotDone(0.0, "it was not done"))

    def _noted(self, call: Call[Any], outcome: Outcome) -> Outcome:
        """Keep what really happened."""
        if isinstance(outcome, Pending):
            self.under_way.add(call.key)
        elif call.key not in self.markers and (isinstance(outcome, Succeeded) or _effected(outcome)):
            self.effects.append(Effected(call.step, call.key, self.now))
            self.markers[call.key] = outcome
            self.under_way.discard(call.key)
        return outcome

    def _found(self, seen: View, record: str) -> Outcome:
        """What a read finds, or the probe of an act."""
        if status.known(seen.status, record).effect == Effect.UNKEYED:
            return Succeeded({"json": {"done": self.probed}}, "answered")
        return self._next_outcome(record)

    def _next_outcome(self, record: str) -> Outcome:
        self.ran.append(record)
        script = self.script.get(record, [])
        return script.pop(0) if script else OK

    def moment(self) -> None:
        """Let the operator be killed here, if it is to be."""
        self.moments += 1
        if self.snapshots is not None:
            self.snapshots.append(replace(self.copy(), snapshots=None))
        if self.crash_at == self.moments:
            raise Crashed

    # what happens outside

    def go(self, until: timedelta = timedelta(0)) -> "Simulation":
        """Reconcile, and reconcile again whenever a moment comes, for so long."""
        end = self.now + until
        for _ in range(2000):
            again = self.reconcile()
            if again is None or again > end:
                self.now = end
                return self
            self.now = again
        raise AssertionError("never comes to rest")

    def go_through_crashes(self, until: timedelta = timedelta(0)) -> "Simulation":
        """The same, started again after a crash with nothing but what is stored."""
        try:
            return self.go(until)
        except Crashed:
            self.crash_at = None
            return self.go(until)

    def annotate(self, verb: Verb, token: str, by: str = "alice@dawsos.com") -> "Simulation":
        """Have a person answer."""
        annotations = {**self.stored.metadata.annotations, verb.annotation: f"{token} {by}"}
        metadata = self.stored.metadata.model_copy(update={"annotations": annotations})
        self.stored = self.stored.model_copy(update={"metadata": metadata})
        return self

    def approve(self, by: str = "alice@dawsos.com") -> "Simulation":
        """Have a person approve the pending plan."""
        return self.annotate(Verb.APPROVE, self.pending.plan_hash[:12], by)

    def reject(self, by: str = "alice@dawsos.com") -> "Simulation":
        """Have a person reject the pending plan."""
        return self.annotate(Verb.REJECT, self.pending.plan_hash[:12], by)

    def retry(self) -> "Simulation":
        """Have a person ask for another try."""
        return self.annotate(Verb.RETRY, self.token)

    def tell(self, said: str) -> "Simulation":
        """Have a person say whether it happened."""
        return self.annotate(Verb.RESOLVE, f"{self.token}={said}")

    def abort(self) -> "Simulation":
        """Have a person stop it all."""
        return self.annotate(Verb.ABORT, "now")

    def undo(self) -> "Simulation":
        """Have a person stop it all, and take back what is in place."""
        return self.annotate(Verb.ABORT, "undo")

    def over(self, by: str = "alice@dawsos.com") -> "Simulation":
        """Have a person say that all alerts that are listed are over."""
        return self.annotate(Verb.OVER, str(len(self.stored.spec.alerts)), by)

    def acknowledge(self, lasts: str = "30m", by: str = "alice@dawsos.com") -> "Simulation":
        """Have a person say that they are on it."""
        return self.annotate(Verb.ACKNOWLEDGE, lasts, by)

    def another(self) -> "Simulation":
        """Have another alert of the group fire."""
        spec = self.stored.spec
        alerts = [*spec.alerts, alert(len(spec.alerts) + 1)]
        self.stored = self.stored.model_copy(update={"spec": spec.model_copy(update={"alerts": alerts})})
        return self

    def alert(self, state: AlertStatus) -> "Simulation":
        """Have all alerts resolve, or fire."""
        spec = self.stored.spec
        alerts = [each.model_copy(update={"status": state}) for each in spec.alerts]
        self.stored = self.stored.model_copy(update={"spec": spec.model_copy(update={"alerts": alerts})})
        return self

    def forget(self, name: str) -> "Simulation":
        """Lose the outputs of a step, as an older version, or somebody who writes the status, may."""
        changed = status.update(self.stored.status, name, outputs=None)
        self.stored = self.stored.model_copy(update={"status": changed})
        return self

    def resolve(self) -> "Simulation":
        """Have all alerts resolve."""
        return self.alert(AlertStatus.RESOLVED)

    def fire(self) -> "Simulation":
        """Have all alerts fire."""
        return self.alert(AlertStatus.FIRING)

    # what can be seen

    @property
    def status(self) -> IncidentStatus:
        """What is stored."""
        return self.stored.status

    @property
    def pending(self) -> PendingApproval:
        """The plan that waits for a person."""
        assert self.status.pending_approval is not None, self.status.message
        return self.status.pending_approval

    @property
    def token(self) -> str:
        """The token of the pending question."""
        assert self.status.pending_answer is not None, self.status.message
        return self.status.pending_answer.token

    @property
    def done(self) -> list[str]:
        """The effects that happened, in order."""
        return [effect.record for effect in self.effects]

    def states(self) -> Mapping[str, str]:
        """The state of each step."""
        return {record.name: record.state.value for record in self.status.steps}

    def copy(self) -> "Simulation":
        """The same simulation, to try something else in."""
        return replace(
            self,
            script={name: list(outcomes) for name, outcomes in self.script.items()},
            effects=list(self.effects),
            unreserved=list(self.unreserved),
            markers=dict(self.markers),
            begun=set(self.begun),
            under_way=set(self.under_way),
            phases=list(self.phases),
        )


def _effected(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.effected


def failed(message: str = "connection refused", *, retryable: bool = False, effected: bool = False) -> Failed:
    """A failure."""
    return Failed(reasons.CONNECTION_FAILED, message, retryable=retryable, effected=effected)


def unfinished(after: float = 5.0) -> Pending:
    """Something that is under way."""
    return Pending(after, "Job rebuild: running for 40s")


def unasked(compiled: Compiled, *names: str) -> Simulation:
    """A Simulation in which an administrator has named these steps, as they are written."""
    steps = (UnaskedStep("prod", "", name, digest_of(compiled, compiled.steps[name])) for name in names)
    return Simulation(compiled, leave=Leave(frozenset(steps)))
