"""How a decision is carried out, but for the world: what is asked of it, and what its answers mean. Pure.

Each function here is a generator. It yields a request (store a status, preview a call, run a call, ask whether approvals can be
trusted), is sent the answer, and returns the status as it is known then. Whoever drives it does what the requests say: the
engine in the real world (`engine/executor.py`), the proofs in theirs. So what the proofs walk is what runs.

    intent stored → act → outcome recorded

An exception of the driver ends the generator where it stands, as a crash would; what is stored then is all that is known.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any, assert_never

from incident_operator.api.approvals import ApprovalState, PlanEntry
from incident_operator.api.incident import Incident, IncidentStatus, StepState
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, reasons
from incident_operator.core.action import Call, Evidence, Preview
from incident_operator.core.expressions import templates
from incident_operator.core.machine import outcome, status, undoing
from incident_operator.core.machine.in_flight import by_mark
from incident_operator.core.machine.stages import Mark, call_of, entry_of, unmarked
from incident_operator.core.machine.view import (
    Ask,
    Begin,
    Look,
    Probe,
    Read,
    Run,
    Transition,
    Turn,
    View,
    shared_targets,
)
from incident_operator.core.masks import NOTHING, Masks
from incident_operator.core.outcomes import (
    Effect,
    Failed,
    Failure,
    NotDone,
    Outcome,
    RolledBack,
    Undetermined,
    outcome_of,
    outcome_of_another_try,
    outcome_of_look,
)


class How(Enum):
    """What a call is run for."""

    READ = "read"
    """It changes nothing."""
    RESERVE = "reserve"
    """Makes what the act needs and what has no effect yet, such as a suspended Job; answers with what the intent keeps of it."""
    ACT = "act"
    """Sends the thing of a preview. The intent is stored by then."""
    LOOK = "look"
    """Finds out what became of an act, and if it certainly was not done, sees to it that it never will be."""


@dataclass(frozen=True, slots=True)
class Store:
    """Store a status, as it is told to people; the answer is the Incident as it is stored then."""

    status: IncidentStatus
    intent: bool = False
    """Whether an act follows, which only the process that leads may begin."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Say why approvals cannot be trusted just now, for people; empty where they can."""

    plan_hash: str = ""
    """A plan for which a forged approval is tried."""


@dataclass(frozen=True, slots=True)
class Now:
    """Say what time it is; what came before may have taken long."""


@dataclass(frozen=True, slots=True)
class Show:
    """Preview a call; the answer is a `Preview`, or the `Failure` that keeps it from being made."""

    call: Call[Any]
    trial: bool
    """Whether it is for a plan, which people read: then it is tried out as well, and rolled back."""


@dataclass(frozen=True, slots=True)
class Do:
    """Run a call; the answer is `Ran`. Several reads are run together."""

    call: Call[Any]
    effect: Effect
    how: How
    preview: Preview | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a call, and when that was known."""

    outcome: Outcome
    at: datetime
    evidence: Evidence | None = None
    reserved: Mapping[str, Any] | None = None
    """What a reservation made, for the intent; None where there is none."""
    incident: Incident | None = None
    """The Incident as it is stored by now, where it was written while the act went on."""
    masks: Masks = NOTHING
    """What masks whatever is told of the result, which itself is as it came."""


@dataclass(frozen=True, slots=True)
class Together:
    """Run reads together; the answer is a list of `Ran`."""

    reads: tuple[Do, ...]
    status: IncidentStatus | None = None
    """What is known while they run, for whoever looks at ones that take long; None where that is what was known before."""


Request = Store | Trust | Now | Show | Do | Together
Steps = Generator[Request, Any, IncidentStatus]


def carry_out(view: View, decision: Turn, *, nonce: str = "", mark: Mark = unmarked) -> Steps:
    """Carry a decision out. `nonce` is new for each question; `mark` marks what is done."""
    match decision:
        case Transition(current):
            return (yield from _nothing(current))
        case Read(runs):
            return (yield from _read(view, runs))
        case Ask(runs):
            return (yield from _ask(view, runs, nonce, mark))
        case Begin():
            return (yield from _begin(view, decision, mark))
        case Look(run):
            return (yield from _look(view, run, mark))
        case Probe(run):
            return (yield from _probe(view, run))
        case _:
            assert_never(decision)


def _nothing(current: IncidentStatus) -> Steps:
    yield from ()
    return current


def _read(view: View, runs: Sequence[Run]) -> Steps:
    """Run reads together; they need no intent."""
    current = view.status
    for run in runs:
        if status.known(current, run.record).key != run.key:
            current = status.record_intent(current, run, view.now)
    begun = view.with_status(current)
    calls = [call_of(begun, run) for run in runs]
    sent = [Do(call, Effect.READ, How.READ) for call in calls if isinstance(call, Call)]
    answers = iter((yield Together(tuple(sent), current)) if sent else ())
    for run, call in zip(runs, calls, strict=True):
        ran = Ran(_unrenderable(call), view.now) if isinstance(call, templates.RenderError) else next(answers)
        current = recorded(view.with_status(current).incident, view, run, ran)
    return current


def _ask(view: View, runs: Sequence[Run], nonce: str, mark: Mark) -> Steps:
    """Ask a person about as many of these steps as can be rendered now, or stop."""
    missing = undoing.nobody_may_approve(view) or (yield Trust())
    if missing:
        return _cannot_ask(view, runs[0], reasons.APPROVAL_POLICY_MISSING, missing)
    entries: list[PlanEntry] = []
    problem = ""
    for run in runs:
        shown = yield from _shown(view, run, mark)
        if isinstance(shown, RolledBack):
            return by_mark(view, run, shown.message)
        if isinstance(shown, str):
            problem = shown
            break
        if approval.size([*entries, shown]) > approval.MAX_PLAN_BYTES:
            break  # each step by itself is small enough
        entries.append(shown)
    if not entries:
        told = f"The plan for {runs[0].step} cannot be rendered: {problem}"
        return _cannot_ask(view, runs[0], reasons.PLAN_FAILED, told)
    return undoing.asked(view, entries, nonce)


def _cannot_ask(view: View, run: Run, reason: str, message: str) -> IncidentStatus:
    """Stop; before a step of restore stops it, what is temporary is taken back, which nobody has to be asked for."""
    if run.stage is Stage.RESTORE and not run.undo and undoing.when_resolved(view) is not None:
        return undoing.put_off(view.status, run, reason, message)
    return undoing.cannot_ask(view, run, reason, message)


def _shown(view: View, run: Run, mark: Mark) -> Generator[Request, Any, PlanEntry | RolledBack | str]:
    call = call_of(view, run, mark)
    if isinstance(call, templates.RenderError):
        return f"{call.field}: {call.message}"
    preview = yield Show(call, trial=True)
    if isinstance(preview, RolledBack):
        return preview
    if isinstance(preview, Failure):
        return f"{run.record}: {preview.message}"
    entry = entry_of(view, run, call, preview)
    return f"{run.record}: {entry}" if isinstance(entry, str) else entry


def _begin(view: View, begin: Begin, mark: Mark) -> Steps:
    """Compare what was approved with what would be sent, store the intent, and send that very thing.

    Where the intent is stored already (`again`), the service does once what it is sent under one key, however often.
    """
    run = begin.run
    call = call_of(view, run, mark)
    if isinstance(call, templates.RenderError):
        return _not_begun(view, begin, _unrenderable(call))
    if begin.approved is not None:
        used = approval.active(view.status)
        missing = undoing.nobody_may_approve(view) or (yield Trust(used.plan_hash if used else ""))
        if missing:
            return _untrusted(view, begin, missing)
    preview = yield Show(call, trial=begin.approved is not None)
    if isinstance(preview, RolledBack) and not begin.again:
        return by_mark(view, run, preview.message)
    if isinstance(preview, Failure):
        return _unseen(view, begin, preview)
    if begin.approved is not None:
        rendered = entry_of(view, run, call, preview)
        differs = (
            f"{run.record}: {rendered}"
            if isinstance(rendered, str)
            else approval.difference(
                begin.approved, rendered, trial_binds=begin.trial_binds, remedy=preview.trial_remedy
            )
        )
        if differs:
            return _drifted(view, begin, differs)
    if not begin.trial_binds:
        preview = replace(preview, in_trial=None)
    if begin.again:
        return (yield from _sent_again(view, run, call, preview))
    return (yield from _sent(view, begin, call, preview))


def _sent(view: View, begin: Begin, call: Call[Any], preview: Preview) -> Steps:
    """Store the intent, with what it is begun upon, and send the thing of the preview."""
    run, effect, seen = begin.run, effect_of(view, begin.run), dict(preview.seen)
    if effect is Effect.K8S_CREATE:
        ran = yield Do(call, effect, How.RESERVE, preview)
        if isinstance(ran.outcome, Undetermined) and ran.outcome.reason == reasons.RECORD_ROLLED_BACK:
            return by_mark(view, run, ran.outcome.message)
        if ran.reserved is None:
            return _not_begun(view, begin, ran.outcome)
        seen |= ran.reserved
    now: datetime = yield Now()
    if begin.approved is not None and undoing.is_outlived(view.status, now):
        return undoing.outlived(view.status, now)
    stored: Incident = yield Store(
        status.record_intent(view.status, run, now, seen, approval.told(preview.do, preview.details)), intent=True
    )
    started = status.known(stored.status, run.record).started_at or view.now
    ran = yield Do(replace(call, started_at=started, seen=seen), effect, How.ACT, preview)
    return recorded(ran.incident or stored, view, run, ran)


def _sent_again(view: View, run: Run, call: Call[Any], preview: Preview) -> Steps:
    """Send a keyed call once more. It may be the first that arrives, so the Incident has to stand as it did when that was decided."""
    now: datetime = yield Now()
    stored: Incident = yield Store(status.update(view.status, run.record, polled_at=now), intent=True)
    ran = yield Do(call, effect_of(view, run), How.ACT, preview)
    ran = replace(ran, outcome=outcome_of_another_try(ran.outcome))
    return recorded(ran.incident or stored, view, run, ran)


def _look(view: View, run: Run, mark: Mark) -> Steps:
    """Find out what became of an act whose intent is stored. It is never done here."""
    call = call_of(view, run, mark)
    if isinstance(call, templates.RenderError):
        # it may have happened, so this is not a failure
        told = Undetermined(f"cannot check what became of it: {call.field}: {call.message}")
        return recorded(view.incident, view, run, Ran(told, view.now))
    ran = yield Do(call, effect_of(view, run), How.LOOK)
    return recorded(view.incident, view, run, ran)


def _probe(view: View, run: Run) -> Steps:
    """Ask a step's probe whether its interrupted effect happened."""
    call = call_of(view, run, probe=True)
    if isinstance(call, templates.RenderError):
        ran = Ran(_unrenderable(call), view.now)
    else:
        (ran,) = yield Together((Do(call, Effect.READ, How.READ),))
    step = view.compiled.steps[run.step]
    result = outcome.to_be_kept(outcome.evaluate_probe(view.incident, step, ran.outcome, ran.at), ran.masks)
    result = _with_evidence(result, ran)
    return status.record_outcome(view.status, run, result, undoable=step.undo is not None, now=ran.at)


def recorded(incident: Incident, view: View, run: Run, ran: Ran, *, begun: bool = True) -> IncidentStatus:
    """Return the status with what became of a run; `begun` is False where its intent was never stored.

    What became of an attempt says nothing of another one, which somebody else may have begun meanwhile.
    """
    step, current = view.compiled.steps[run.step], incident.status
    record = status.known(current, run.record)
    if begun and record.key != run.key:
        return current
    result = outcome.evaluate(incident, step, record, run, ran.outcome, ran.at, led_for=view.led_for)
    result = _with_evidence(outcome.to_be_kept(result, ran.masks), ran)
    if result.state is StepState.SUCCEEDED and not run.undo and (shared := shared_targets(view, run)):
        result = replace(result, summary="; ".join([result.summary, *shared]))
    undoable = step.undo is not None
    told = status.record_outcome(current, run, result, undoable=undoable, now=ran.at, begun=begun)
    return undoing.used(view, told)


def _with_evidence(result: status.StepResult, ran: Ran) -> status.StepResult:
    return result if ran.evidence is None else replace(result, evidence=ran.evidence.digest)


def effect_of(view: View, run: Run) -> Effect:
    """Return the effect class of a run: the step's, or that of its undo."""
    step = view.compiled.steps[run.step]
    return step.undo.act.effect if run.undo and step.undo is not None else step.act.effect


def _not_begun(view: View, begin: Begin, came: Outcome) -> IncidentStatus:
    if begin.again:
        return _not_asked_again(view, begin, came.message if isinstance(came, Failed) else "it cannot be sent")
    return recorded(view.incident, view, begin.run, Ran(came, view.now), begun=False)


def _untrusted(view: View, begin: Begin, missing: str) -> IncidentStatus:
    if begin.again:
        return _not_asked_again(view, begin, missing)
    return _cannot_ask(view, begin.run, reasons.APPROVAL_POLICY_MISSING, missing)


def _unseen(view: View, begin: Begin, failure: Failure) -> IncidentStatus:
    """What would be done cannot be told just now. Nothing was sent that changes anything."""
    came = outcome_of(Failure(failure.reason, failure.message, retryable=failure.retryable), effect_of(view, begin.run))
    if begin.again:
        return recorded(view.incident, view, begin.run, Ran(outcome_of_look(failure), view.now))
    if begin.approved is not None and not isinstance(came, NotDone):
        return approval.end_active(view.status, ApprovalState.VOIDED, f"{begin.run.step}: {failure.message}")
    return recorded(view.incident, view, begin.run, Ran(came, view.now), begun=False)


def _drifted(view: View, begin: Begin, differs: str) -> IncidentStatus:
    if begin.again:
        return _not_asked_again(view, begin, f"it is no longer what was approved: {differs}")
    return approval.end_active(view.status, ApprovalState.VOIDED, differs)


def _not_asked_again(view: View, begin: Begin, why: str) -> IncidentStatus:
    """An earlier try may have got through, and another one is not allowed: nobody knows."""
    told = Undetermined(f"it is not sent again: {why}")
    return recorded(view.incident, view, begin.run, Ran(told, view.now))


def _unrenderable(error: templates.RenderError) -> Failed:
    return Failed(reasons.EXPRESSION_FAILED, f"{error.field}: {error.message}", retryable=False)
