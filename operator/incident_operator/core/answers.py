"""What people say by annotation: abort, retry, resolve, approve, reject; and what becomes of a question nobody answers."""

from datetime import timedelta

from incident_operator.api.annotations import Verb
from incident_operator.api.incident import (
    AnswerVerb,
    ApprovalState,
    IncidentStatus,
    PendingAnswer,
    PendingApproval,
    Phase,
    StepState,
    UndoState,
)
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, keys, limits, reasons, status
from incident_operator.core.decisions import Decision, Transition, Wait
from incident_operator.core.retrying import reset_for_retry, retry_question
from incident_operator.core.view import View, is_undo

ABORT_TOKEN = "now"  # noqa: S105
DONE, NOT_DONE = "done", "not-done"
SLACK = timedelta(minutes=5)
"""How long an approval outlives the running time of its own steps."""


def aborted(view: View) -> Decision | None:
    """Abort is final: nothing begins any more, and what stays changed is named."""
    found = approval.answer(view.incident.metadata.annotations, Verb.ABORT)
    if found is None or found.token != ABORT_TOKEN:
        return None
    current = approval.withdraw(view.status, f"aborted by {found.by}", view.now)
    current = approval.end_active(current, ApprovalState.VOIDED, f"aborted by {found.by}")
    current = status.handled(current, Verb.ABORT.value, found.token, found.by, view.now)
    unfinished = [r.name for r in current.steps if r.state not in status.FINISHED]
    current = status.skip(current, unfinished, reasons.ABORTED, f"aborted by {found.by}")
    message = f"Aborted by {found.by}; nothing more is done. {_left_changed(current)}"
    return Transition(status.halt(current, reasons.ABORTED, message, phase=Phase.FAILED))


def resolved_by_person(view: View) -> Decision | None:
    """A person says whether an unknown effect happened; the Incident goes on from there."""
    question = _question(view, AnswerVerb.RESOLVE)
    found = approval.answer(view.incident.metadata.annotations, Verb.RESOLVE)
    if question is None or found is None:
        return None
    token, _, said = found.token.rpartition("=")
    if token != question.token or said not in {DONE, NOT_DONE}:
        return None
    current = status.handled(status.go_on(view.status), Verb.RESOLVE.value, found.token, found.by, view.now)
    return Transition(_believe(view, current, question.step, said == DONE, found.by))


def retried(view: View) -> Decision | None:
    """A person asks for another try; the diagnosis is read afresh for it."""
    question = _question(view, AnswerVerb.RETRY)
    found = approval.answer(view.incident.metadata.annotations, Verb.RETRY)
    if question is None or found is None or found.token != question.token:
        return None
    current = status.handled(status.go_on(view.status), Verb.RETRY.value, found.token, found.by, view.now)
    return Transition(reset_for_retry(current, question.step))


def rejected(view: View) -> Decision | None:
    """A rejected plan is not carried out; whether the rest goes on is the step's `onReject`."""
    pending = view.status.pending_approval
    found = approval.answer(view.incident.metadata.annotations, Verb.REJECT)
    if pending is None or found is None or not approval.answers_plan(found, pending):
        return None
    current = status.acknowledged(approval.reject(view.status, found.by, view.now), view.now)
    current = status.mark(current, pending.steps, StepState.REJECTED, reasons.REJECTED)
    if _on_reject(view, pending) == "skip":
        return Transition(status.skip(current, pending.steps, reasons.REJECTED, f"rejected by {found.by}"))
    question = retry_question(view, current, pending.steps[0])
    message = f"{found.by} rejected the plan ({', '.join(pending.steps)}); nothing of it was done. Ask again: {question.answer_with[0]}"
    return Transition(status.halt(current, reasons.REJECTED, message, question))


def expired(view: View) -> Decision | None:
    """A question that nobody answers is asked again with fresh facts, and after some times a person is called."""
    pending = view.status.pending_approval
    if pending is None or view.now < pending.expires_at:
        return None
    current = status.mark(approval.expire(view.status, view.now), pending.steps, StepState.PENDING)
    if approval.times_expired(current, pending.steps[0]) < approval.MAX_ASKS:
        return Transition(current)
    question = retry_question(view, current, pending.steps[0])
    message = f"Nobody approved {', '.join(pending.steps)} in time, asked {approval.MAX_ASKS} times. Ask again: {question.answer_with[0]}"
    return Transition(status.halt(current, reasons.APPROVAL_EXPIRED, message, question))


def approved(view: View) -> Decision | None:
    """An approval of the pending plan makes it active; without one there is nothing to do but wait."""
    pending = view.status.pending_approval
    if pending is None:
        return None
    found = approval.answer(view.incident.metadata.annotations, Verb.APPROVE)
    if found is None or not approval.answers_plan(found, pending) or found.by in pending.excluded:
        return Wait(pending.expires_at)
    current = approval.consume(view.status, found.by, _valid_for(view, pending), view.now)
    current = status.mark(current, pending.steps, StepState.PENDING)
    return Transition(status.acknowledged(current, view.now))


def _question(view: View, verb: AnswerVerb) -> PendingAnswer | None:
    question = view.status.pending_answer
    return question if question is not None and verb in question.verbs else None


def _believe(view: View, current: IncidentStatus, name: str, happened: bool, by: str) -> IncidentStatus:
    if not happened:
        return status.reset(current, [name])
    record = status.find(current, name)
    undoable = record is not None and record.stage is not Stage.RESTORE and view.step(record).undo is not None
    undo = UndoState.PENDING if undoable else None
    if record is not None and is_undo(record):
        step = name.removeprefix(keys.UNDO_PREFIX)
        current = status.update(current, step, state=StepState.UNDONE, undo=UndoState.DONE)
    return status.update(
        current, name, state=StepState.SUCCEEDED, summary=f"done, says {by}", undo=undo, finished_at=view.now
    )


def _on_reject(view: View, pending: PendingApproval) -> str:
    policy = view.compiled.steps[pending.steps[0]].step.approval
    return policy.on_reject if policy is not None else "stop"


def _valid_for(view: View, pending: PendingApproval) -> timedelta:
    steps = [view.compiled.steps[name] for name in pending.steps]
    return sum((limits.longest(step) for step in steps), SLACK)


def _left_changed(current: IncidentStatus) -> str:
    left = [record.name for record in current.steps if record.undo is UndoState.PENDING]
    return f"Still in place, not undone: {', '.join(left)}." if left else "Nothing temporary is left in place."
