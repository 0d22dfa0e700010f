"""What people say by annotation: abort, retry, resolve, approve, reject; and what becomes of a question nobody answers."""

from datetime import timedelta
from functools import partial

from incident_operator.api.approvals import AnswerVerb, ApprovalState, PendingAnswer, PendingApproval
from incident_operator.api.incident import IncidentStatus, Phase, StepRecord, StepState, UndoState, Verb
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, reasons, sanitize
from incident_operator.core.approval import Answer
from incident_operator.core.machine import alert_changes, in_flight, status, undoing
from incident_operator.core.machine.undoing import DONE, NOT_DONE, reset_for_retry, retry_question
from incident_operator.core.machine.view import UNDO_PREFIX, Blocked, Decision, Transition, View, Wait, is_undo
from incident_operator.core.outcomes import Effect
from incident_operator.core.runbooks import limits

_ABORTS = frozenset({status.ABORT_TOKEN, status.UNDO_TOKEN})
SLACK = timedelta(minutes=5)
"""How long an approval outlives the running time of its own steps."""


def aborted(view: View) -> Decision | None:
    """Abort is final: nothing begins any more, what is under way is followed to its end, and what stays changed is named."""
    found = approval.answer(view.incident.metadata.annotations, Verb.ABORT)
    recorded = status.abort(view.status)
    if found is not None and found.token in _ABORTS and (recorded is None or recorded.token != found.token):
        return Transition(_nothing_begins(view, found))
    if recorded is None or in_flight.running(view.status) is not None:
        return None
    undo = _taken_back(view) if recorded.token == status.UNDO_TOKEN else None
    return undo or aborted_for_good(view, recorded.by)


def aborted_for_good(view: View, by: str) -> Decision:
    """Close an Incident that was aborted; said after the last act, so that it is true."""
    # an effect whose fate nobody knows is never told as one that did not happen
    unclear = [record.name for record in view.status.steps if _is_unclear(record)]
    why = f"aborted by {by}"
    current = approval.end_active(approval.withdraw(view.status, why, view.now), ApprovalState.VOIDED, why)
    current = status.mark(current, unclear, StepState.UNKNOWN, reasons.ABORTED)
    unbegun = [r.name for r in current.steps if r.state not in status.FINISHED and r.name not in unclear]
    current = status.skip(current, unbegun, reasons.ABORTED, why)
    message = f"Aborted by {by}; nothing more is done. {_left_changed(current)}{_by_hand(view, current)}"
    return Transition(status.halt(current, reasons.ABORTED, message, phase=Phase.FAILED))


def _taken_back(view: View) -> Decision | None:
    """Take back what is in place, under all that guards an undo; what concerns no undo is not asked any more."""
    if isinstance(view.runbook, Blocked):
        return None  # only the Runbook knows how
    for rung in (
        undoing.approval_used_up,
        resolved_by_person,
        retried,
        partial(in_flight.effect_unknown, matters=partial(_is_to_be_undone, view)),
        alert_changes.halted,
        rejected,
        expired,
        approved,
        undoing.when_aborted,
    ):
        if (decision := rung(view)) is not None:
            return decision
    return None


def _is_to_be_undone(view: View, record: StepRecord) -> bool:
    return is_undo(record) or (record.stage is Stage.MITIGATE and view.step(record).undo is not None)


def _nothing_begins(view: View, said: Answer) -> IncidentStatus:
    """Take back what is asked and what is approved, and leave out all that has not begun."""
    why = f"aborted by {said.by}"
    current = approval.withdraw(status.go_on(view.status), why, view.now)
    current = approval.end_active(current, ApprovalState.VOIDED, why)
    current = status.handled(current, Verb.ABORT.value, said.token, said.by, view.now)
    under_way = in_flight.running(current)
    begun = {record.name for record in current.steps if _is_unclear(record)} | (
        {under_way.name} if under_way else set()
    )
    unbegun = [r.name for r in current.steps if r.state not in status.FINISHED and r.name not in begun]
    return status.skip(current, unbegun, reasons.ABORTED, why)


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
    summary = sanitize.text(f"rejected by {found.by}", status.SUMMARY_LIMIT)
    for name in pending.steps:
        current = status.update(current, name, state=StepState.REJECTED, reason=reasons.REJECTED, summary=summary)
        if name.startswith(UNDO_PREFIX):
            step = name.removeprefix(UNDO_PREFIX)
            current = status.record_undo(current, step, StepState.UNDO_FAILED, UndoState.FAILED)
    skipped = [name for name in pending.steps if _on_reject(view, name) == "skip"]
    return Transition(status.skip(current, skipped, reasons.REJECTED, f"rejected by {found.by}"))


def expired(view: View) -> Decision | None:
    """A question that nobody answers is asked again with fresh facts, and after some times a person is called."""
    pending = view.status.pending_approval
    if pending is None:
        return None
    if view.now < pending.expires_at:
        return _asked_before_the_clock_went_back(view, pending)
    current = status.mark(approval.expire(view.status, view.now), pending.steps, StepState.PENDING)
    if approval.times_expired(current, pending.steps[0]) < approval.MAX_ASKS:
        return Transition(current)
    question = retry_question(view, current, pending.steps[0])
    message = f"Nobody approved {', '.join(pending.steps)} in time, asked {approval.MAX_ASKS} times."
    remedy = f"Ask again: {question.answer_with[0]}"
    return Transition(status.halt(current, reasons.APPROVAL_EXPIRED, message, question, remedy=remedy))


def _asked_before_the_clock_went_back(view: View, pending: PendingApproval) -> Decision | None:
    """A question whose end is further away than when it was asked would live longer than it says: it is asked anew."""
    asked_at = pending.expires_at - limits.approval_expires(view.step_of(pending.steps[0]))
    if not status.went_back(asked_at, view.now):
        return None
    withdrawn = approval.withdraw(view.status, undoing.CLOCK_WENT_BACK, view.now)
    return Transition(status.mark(withdrawn, pending.steps, StepState.PENDING))


def approved(view: View) -> Decision | None:
    """An approval of the pending plan makes it active; without one there is nothing to do but wait."""
    pending = view.status.pending_approval
    if pending is None:
        return None
    found = approval.answer(view.incident.metadata.annotations, Verb.APPROVE)
    if found is None or not approval.answers_plan(found, pending) or found.user in pending.excluded:
        return Wait(pending.expires_at)
    current = approval.consume(view.status, found.by, _valid_for(view, pending), view.now)
    current = status.mark(current, pending.steps, StepState.PENDING)
    return Transition(status.acknowledged(current, view.now))


def abort_command(view: View) -> str:
    """Return the line that closes the Incident for good."""
    meta = view.incident.metadata
    return approval.command(meta.namespace, meta.name, Verb.ABORT, status.ABORT_TOKEN)


def _question(view: View, verb: AnswerVerb) -> PendingAnswer | None:
    question = view.status.pending_answer
    return question if question is not None and verb in question.verbs else None


def _believe(view: View, current: IncidentStatus, name: str, happened: bool, by: str) -> IncidentStatus:
    record = status.find(current, name)
    if record is None:
        return current
    undo = is_undo(record)
    if not happened and _can_be_looked_up(record):
        # so that what was sent under this key can do nothing any more, before it is done under another one
        told = sanitize.text(f"{by} said that it was not done; checked once more", status.SUMMARY_LIMIT)
        return status.update(current, name, state=StepState.RUNNING, reason="", summary=told, started_at=view.now)
    if not happened:
        return reset_for_retry(current, name) if undo else status.reset(current, [name])
    if undo:
        step = name.removeprefix(UNDO_PREFIX)
        current = status.record_undo(current, step, StepState.UNDONE, UndoState.DONE)
    temporary = record.stage is Stage.MITIGATE and view.step(record).undo is not None
    begun_upon = {key: value for key, value in (record.seen or {}).items() if key != "marker"}
    return status.update(
        current,
        name,
        state=StepState.SUCCEEDED,
        reason="",
        summary=sanitize.text(f"done, says {by}", status.SUMMARY_LIMIT),
        undo=UndoState.PENDING if temporary else None,
        captured=record.captured or begun_upon or None,
        finished_at=view.now,
    )


def _can_be_looked_up(record: StepRecord) -> bool:
    """Whether only time kept an act from being told: where a look says that nobody can tell, the person is believed."""
    return Effect(record.effect).is_known and record.seen is not None and record.reason == reasons.TIMED_OUT


def _on_reject(view: View, name: str) -> str:
    policy = view.step_of(name).step.approval
    return policy.on_reject if policy is not None and not name.startswith(UNDO_PREFIX) else "stop"


def _valid_for(view: View, pending: PendingApproval) -> timedelta:
    steps = [view.step_of(name) for name in pending.steps]
    return sum((limits.longest(step) for step in steps), SLACK)


def _left_changed(current: IncidentStatus) -> str:
    left = undoing.left_in_place(current)
    undone = [record.name for record in current.steps if record.undo is UndoState.DONE]
    unclear = [record.name for record in current.steps if record.state is StepState.UNKNOWN]
    told = [
        f"Still in place, not undone: {', '.join(left)}." if left else "",
        f"Undone: {', '.join(undone)}." if undone else "",
        f"May or may not have happened: {', '.join(unclear)}." if unclear else "",
    ]
    if not left and not unclear:
        told.append("Nothing temporary is left in place.")
    return " ".join(filter(None, told))


def _by_hand(view: View, current: IncidentStatus) -> str:
    """Say where stands how to undo what no command is known for."""
    left = [record for record in current.steps if record.undo in {UndoState.PENDING, UndoState.FAILED}]
    if not view.runbook_name or all(undoing.put_back_with(record) for record in left):
        return ""
    return f" Its Runbook says how to undo it: kubectl get -n {view.incident.metadata.namespace} runbook {view.runbook_name} -o yaml"


def _is_unclear(record: StepRecord) -> bool:
    running = record.state is StepState.RUNNING and record.effect != Effect.READ
    return running or record.state is StepState.UNKNOWN
