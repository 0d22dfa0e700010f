"""Plays the engine's part without a world: carries decisions out against scripted outcomes and a clock of its own.

What the engine does in `engine/reconciler.py` is done here in the same order: intent before act, outcome in memory until
the next write, all memory lost at a crash.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from core import invariants
from core.builders import START, incident, view
from incident_operator.api.annotations import Verb
from incident_operator.api.approvals import ApprovalState, PendingApproval, PlanEntry
from incident_operator.api.incident import CLOSED_PHASES, AlertStatus, Incident, IncidentStatus, StepState
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, plan, reasons
from incident_operator.core.effects import Effect
from incident_operator.core.machine import decisions, in_flight, limits, lookups, machine, status
from incident_operator.core.machine.decisions import Run
from incident_operator.core.machine.outcome import evaluate, evaluate_probe
from incident_operator.core.machine.retrying import retry_question
from incident_operator.core.machine.view import Blocked, View
from incident_operator.core.outcomes import Failed, Outcome, Pending, Succeeded
from incident_operator.core.runbooks.compiled import Compiled
from incident_operator.core.status import present

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
class World:
    """One Incident, everything outside of it, and the operator that drives it."""

    compiled: Compiled | Blocked
    """The Runbook as it is now, or why there is none."""
    stored: Incident = field(default_factory=incident)
    now: datetime = START
    script: dict[str, list[Outcome]] = field(default_factory=dict)
    """Outcomes of a record's next runs, in order; after them all goes well."""
    does: dict[str, str] = field(default_factory=dict)
    """What the preview of a step says, where it is not the usual."""
    gone: Blocked | None = None
    """Why the Runbook cannot be used just now."""
    policy_problem: str = ""
    preview_problem: str = ""
    excluded: tuple[str, ...] = ()
    unasked: frozenset[str] = frozenset()
    crash_at: int | None = None
    effects: list[Effected] = field(default_factory=list)
    markers: dict[str, Outcome] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    """Keys under which an act was begun."""
    writes: int = 0
    phases: list[str] = field(default_factory=list)
    moments: int = 0
    ran: list[str] = field(default_factory=list)
    """Records whose action was asked for an outcome."""
    snapshots: "list[World] | None" = None
    """What is left of the world if the operator is killed at each moment, where that is wanted."""
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
            if isinstance(decision, decisions.Wait | decisions.Stop):
                self.write(seen)
                return decision.until if isinstance(decision, decisions.Wait) else None
            if in_flight.to_be_recorded(self.stored.status, seen, decision):
                self.write(seen)
                working = self.stored.status
                continue
            after = self.turn(seen, decision)
            invariants.check_facts(after)
            invariants.check_change(working, after)
            working = after
        raise AssertionError(f"goes in circles: {working.message}")

    def view(self, current: IncidentStatus) -> View:
        """What the machine sees, with a status that may not be stored yet."""
        subject = self.stored.model_copy(update={"status": current})
        return view(self.gone or self.compiled, subject, self.now, unasked=self.unasked)

    def turn(self, seen: View, decision: decisions.Decision) -> IncidentStatus:
        """Carry one decision out."""
        match decision:
            case decisions.Transition(current):
                return current
            case decisions.Read(runs):
                return self.read(seen, runs)
            case decisions.Ask(runs):
                return self.ask(seen, runs)
            case decisions.Begin():
                return self._begin(seen, decision)
            case decisions.Resume(run):
                return self.settled(seen, run, lookups.of_resumed(self.act(seen, run)))
            case decisions.Probe(run):
                return self.probe(seen, run)
            case _:
                raise AssertionError(decision)

    def write(self, seen: View) -> None:
        """Store what is known, unless it is stored already."""
        shown = present.present(seen)
        if present.significant(shown) == present.significant(self.stored.status):
            return
        stored = Incident.model_validate(self.stored.model_copy(update={"status": shown}).to_json())
        invariants.check_shown(shown, stored.status)
        self._moment()
        self.stored = stored
        self.writes += 1
        if self.phases[-1:] != [shown.phase.value]:
            self.phases.append(shown.phase.value)
        self._moment()

    def act(self, seen: View, run: Run) -> Outcome:
        """Do it, or find its marker; what really happened is noted in `effects`."""
        record = status.find(self.stored.status, run.record)
        assert record is not None
        assert record.state is StepState.RUNNING, "the intent is stored before the act"
        assert record.key == run.key
        assert run.key not in self.begun or Effect(record.effect).replayable, "what nobody can look up runs once"
        self.begun.add(run.key)
        self._moment()
        if run.key in self.markers and Effect(record.effect).replayable:
            return self.markers[run.key]
        outcome = self._next_outcome(run.record)
        if isinstance(outcome, Succeeded) or (isinstance(outcome, Failed) and outcome.effected):
            self.effects.append(Effected(run.record, run.key, self.now))
            self.markers[run.key] = outcome
        self._moment()
        return outcome

    def _next_outcome(self, record: str) -> Outcome:
        self.ran.append(record)
        script = self.script.get(record, [])
        return script.pop(0) if script else OK

    def _moment(self) -> None:
        self.moments += 1
        if self.snapshots is not None:
            self.snapshots.append(replace(self.copy(), snapshots=None))
        if self.crash_at == self.moments:
            raise Crashed

    def read(self, seen: View, runs: Sequence[Run], outcomes: Sequence[Outcome] = ()) -> IncidentStatus:
        """Run reads together, with these outcomes or those of the script."""
        current = seen.status
        for run in runs:
            record = status.find(current, run.record)
            if record is not None and record.key != run.key:
                current = status.record_intent(current, run, self.now)
        outcomes = outcomes or [self._next_outcome(run.record) for run in runs]
        for run, outcome in zip(runs, outcomes, strict=True):
            current = self.settled(seen.with_status(current), run, outcome)
        return current

    def ask(self, seen: View, runs: Sequence[Run]) -> IncidentStatus:
        """Ask a person, or say why that cannot be."""
        if self.policy_problem:
            return self.cannot_ask(seen, runs[0], reasons.APPROVAL_POLICY_MISSING, self.policy_problem)
        if self.preview_problem:
            return self.cannot_ask(seen, runs[0], reasons.PLAN_FAILED, self.preview_problem)
        entries = [self.entry(run) for run in runs]
        names = [entry.step for entry in entries]
        expires = self.now + limits.approval_expires(seen.compiled.steps[names[0]])
        nonce = f"{self.moments}/{len(seen.status.approvals)}"
        binding = plan.Binding(
            seen.incident.metadata.uid, seen.status.runbook_revision, seen.status.parameters, expires, nonce
        )
        hashed = plan.plan_hash(entries, binding)
        asked = approval.times_expired(seen.status, names[0]) + 1
        pending = PendingApproval(
            plan_hash=hashed,
            expires_at=expires,
            nonce=nonce,
            asked=asked,
            steps=names,
            plan=entries,
            excluded=list(self.excluded),
            changed=approval.voided_because(seen.status, names[0]),
            approve_with=approval.command("prod", "x", Verb.APPROVE, hashed[:12]),
            reject_with=approval.command("prod", "x", Verb.REJECT, hashed[:12]),
        )
        current = status.mark(seen.status, names, StepState.AWAITING_APPROVAL)
        return current.model_copy(update={"pending_approval": pending})

    def entry(self, run: Run) -> PlanEntry:
        """What a preview of the step says now."""
        return PlanEntry(step=run.step, attempt=run.attempt, do=self.does.get(run.step, f"do {run.step}"))

    def cannot_ask(self, seen: View, run: Run, reason: str, message: str) -> IncidentStatus:
        """Stop, because nobody can be asked."""
        question = retry_question(seen, seen.status, run.record)
        stage_reason = reasons.RESTORE_FAILED if run.stage is Stage.RESTORE else reason
        return status.halt(seen.status, stage_reason, message, question, remedy=f"Retry: {question.answer_with[0]}")

    def _begin(self, seen: View, begin: decisions.Begin) -> IncidentStatus:
        if (refused := self.refused(seen, begin)) is not None:
            return refused
        self.write(self.intended(seen, begin.run))
        outcome = self.act(self.view(self.stored.status), begin.run)
        return self.settled(self.view(self.stored.status), begin.run, outcome)

    def refused(self, seen: View, begin: decisions.Begin) -> IncidentStatus | None:
        """Return what is known instead where an approved step must not be begun after all."""
        if begin.approved is None:
            return None
        if self.policy_problem:
            return self.cannot_ask(seen, begin.run, reasons.APPROVAL_POLICY_MISSING, self.policy_problem)
        rendered = self.entry(begin.run)
        differs = self.preview_problem or plan.difference(begin.approved, rendered, trial_binds=begin.trial_binds)
        return approval.end_active(seen.status, ApprovalState.VOIDED, differs) if differs else None

    def intended(self, seen: View, run: Run) -> View:
        """Return the view with the intent that is to be stored; a key is begun once in all of the world's time."""
        assert run.key not in self.begun, "a key is begun once"
        return seen.with_status(status.record_intent(seen.status, run, self.now))

    def probe(self, seen: View, run: Run) -> IncidentStatus:
        """Have the probe tell."""
        found = Succeeded({"json": {"done": self.probed}}, "answered")
        result = evaluate_probe(seen.incident, seen.compiled.steps[run.step], found, self.now)
        return self.take_in(seen, run, result)

    def settled(self, seen: View, run: Run, outcome: Outcome) -> IncidentStatus:
        """Take in what became of a run."""
        record = status.find(seen.status, run.record)
        assert record is not None
        result = evaluate(seen.incident, seen.compiled.steps[run.step], record, run, outcome, self.now)
        return self.take_in(seen, run, result)

    def take_in(self, seen: View, run: Run, result: status.StepResult) -> IncidentStatus:
        """Take in what an outcome means."""
        undoable = seen.compiled.steps[run.step].undo is not None
        return status.record_outcome(seen.status, run, result, undoable=undoable, now=self.now)

    # what happens outside

    def go(self, until: timedelta = timedelta(0)) -> "World":
        """Reconcile, and reconcile again whenever a moment comes, for so long."""
        end = self.now + until
        for _ in range(2000):
            again = self.reconcile()
            if again is None or again > end:
                self.now = end
                return self
            self.now = again
        raise AssertionError("never comes to rest")

    def go_through_crashes(self, until: timedelta = timedelta(0)) -> "World":
        """The same, started again after a crash with nothing but what is stored."""
        try:
            return self.go(until)
        except Crashed:
            self.crash_at = None
            return self.go(until)

    def annotate(self, verb: Verb, token: str, by: str = "alice@dawsos.com") -> "World":
        """Have a person answer."""
        annotations = {**self.stored.metadata.annotations, verb.annotation: f"{token} {by}"}
        metadata = self.stored.metadata.model_copy(update={"annotations": annotations})
        self.stored = self.stored.model_copy(update={"metadata": metadata})
        return self

    def approve(self, by: str = "alice@dawsos.com") -> "World":
        """Have a person approve the pending plan."""
        return self.annotate(Verb.APPROVE, self.pending.plan_hash[:12], by)

    def reject(self, by: str = "alice@dawsos.com") -> "World":
        """Have a person reject the pending plan."""
        return self.annotate(Verb.REJECT, self.pending.plan_hash[:12], by)

    def retry(self) -> "World":
        """Have a person ask for another try."""
        return self.annotate(Verb.RETRY, self.token)

    def tell(self, said: str) -> "World":
        """Have a person say whether it happened."""
        return self.annotate(Verb.RESOLVE, f"{self.token}={said}")

    def abort(self) -> "World":
        """Have a person stop it all."""
        return self.annotate(Verb.ABORT, "now")

    def alert(self, state: AlertStatus) -> "World":
        """Have all alerts resolve, or fire."""
        spec = self.stored.spec
        alerts = [each.model_copy(update={"status": state}) for each in spec.alerts]
        self.stored = self.stored.model_copy(update={"spec": spec.model_copy(update={"alerts": alerts})})
        return self

    def resolve(self) -> "World":
        """Have all alerts resolve."""
        return self.alert(AlertStatus.RESOLVED)

    def fire(self) -> "World":
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

    def copy(self) -> "World":
        """The same world, to try something else in."""
        return replace(
            self,
            script={name: list(outcomes) for name, outcomes in self.script.items()},
            effects=list(self.effects),
            markers=dict(self.markers),
            begun=set(self.begun),
            phases=list(self.phases),
        )


def failed(message: str = "connection refused", *, retryable: bool = False, effected: bool = False) -> Failed:
    """A failure."""
    return Failed(reasons.CONNECTION_FAILED, message, retryable=retryable, effected=effected)


def unfinished(after: float = 5.0) -> Pending:
    """Something that is under way."""
    return Pending(after, "Job rebuild: running for 40s")
