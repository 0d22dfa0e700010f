"""When a person decides, and what is taken back: the approval that steps need, another try after a stop, undos newest first."""

import itertools
from collections.abc import Callable, Sequence
from datetime import datetime

from incident_operator.api.approvals import (
    MAX_EXCLUDED,
    MAX_NAME,
    AnswerVerb,
    ApprovalState,
    PendingAnswer,
    PendingApproval,
    PlanEntry,
)
from incident_operator.api.incident import OPENED_BY, IncidentStatus, StepRecord, StepState, UndoState, Verb
from incident_operator.api.runbook import OnFailure, Stage, UndoOn
from incident_operator.core import approval, reasons, sanitize, texts
from incident_operator.core.expressions import evaluation
from incident_operator.core.machine import status
from incident_operator.core.machine.view import (
    UNDO_PREFIX,
    Ask,
    Begin,
    Blocked,
    Decision,
    Run,
    Transition,
    View,
    Wait,
    is_undo,
    next_run,
    undo_name,
)
from incident_operator.core.outcomes import Effect
from incident_operator.core.runbooks import limits, reviews
from incident_operator.core.runbooks.compiled import CompiledStep, dependencies_of

DONE, NOT_DONE = "done", "not-done"
"""What a person says of an effect whose fate nobody else knows: `<token>=done`."""


def retry_question(view: View, current: IncidentStatus, name: str) -> PendingAnswer:
    """Return the question whose answer tries a step again, with the command to paste."""
    record = _record(current, name)
    token = _fresh_token(current, record)
    return status.question(record, token, [AnswerVerb.RETRY], [_command(view, Verb.RETRY, token)])


def undo_question(view: View, current: IncidentStatus, name: str) -> PendingAnswer:
    """Return the question about an undo that failed: try it again, or hear that a person has put it right by hand."""
    record = _record(current, name)
    token = _fresh_token(current, record)
    commands = [_command(view, Verb.RETRY, token), _command(view, Verb.RESOLVE, f"{token}={DONE}")]
    return status.question(record, token, [AnswerVerb.RETRY, AnswerVerb.RESOLVE], commands)


def unknown_question(view: View, record: StepRecord) -> PendingAnswer:
    """Return the question whether an effect happened; its token names the attempt, so that an answer counts once."""
    token = status.token(record)
    commands = [_command(view, Verb.RESOLVE, f"{token}={said}") for said in (DONE, NOT_DONE)]
    return status.question(record, token, [AnswerVerb.RESOLVE], commands)


def reset_for_retry(current: IncidentStatus, name: str) -> IncidentStatus:
    """Put back a step for another try, and with it what has to be looked at or done afresh.

    These are every read, every step that was not needed then, mitigations that were undone meanwhile, and what failed
    or was rejected with the step or after it in its stage. What had an effect that still holds is never put back,
    but for the step that the person names. An undo goes back alone.
    """
    asked = status.find(current, name)
    if asked is None:
        return current
    if is_undo(asked):
        return _undo_due_again(status.reset(current, [name]), asked)
    after = {record.name for record in current.steps[current.steps.index(asked) :]}
    back = [record.name for record in current.steps if _goes_back(asked, record, record.name in after)]
    return status.reset(current, back)


def _goes_back(asked: StepRecord, record: StepRecord, after: bool) -> bool:
    if record.name == asked.name or record.effect == Effect.READ:
        return True
    if is_undo(record):
        return False
    if after and record.stage is asked.stage and record.state in {StepState.FAILED, StepState.REJECTED}:
        return True
    if asked.stage is Stage.RESTORE:
        return False
    not_needed = record.state is StepState.SKIPPED and record.reason == reasons.CONDITION_FALSE
    return not_needed or (record.stage is Stage.MITIGATE and record.state is StepState.UNDONE)


def _undo_due_again(current: IncidentStatus, undo: StepRecord) -> IncidentStatus:
    step = undo.name.removeprefix(UNDO_PREFIX)
    return status.record_undo(current, step, StepState.SUCCEEDED, UndoState.PENDING)


def _fresh_token(current: IncidentStatus, record: StepRecord) -> str:
    """Return a token that no answer has named, although no attempt may have been begun since the last one."""
    used = {answer.token.partition("=")[0] for answer in current.answers}
    numbers = itertools.count(len(current.answers))
    return next(token for number in numbers if (token := f"{status.token(record)}.{number}") not in used)


def _record(current: IncidentStatus, name: str) -> StepRecord:
    record = status.find(current, name)
    if record is None:
        raise ValueError(f"no record of step {name}")
    return record


def _command(view: View, verb: Verb, token: str) -> str:
    meta = view.incident.metadata
    return approval.command(meta.namespace, meta.name, verb, token)


CLOCK_WENT_BACK = "the clock went back after the question or the answer, so its age is unknown"
_SHOWN_HASH = 12
_CANNOT_ASK = frozenset({reasons.PLAN_FAILED, reasons.APPROVAL_POLICY_MISSING})
_OPEN_AGAIN = "Abort it, and have somebody else open another."
_NEXT_TIME = "This Incident keeps the Runbook from before; the next Incident can be approved."


def needs_approval(view: View, record: StepRecord) -> bool:
    """Every effect of remediate, whatever carries `approval`, and what an administrator would have to name and has not.

    That is a protective act, and an effect of restore that is not an undo; where nothing may act unasked, it is everything.
    """
    step, meta = view.step(record), view.incident.metadata
    if step.act.effect is Effect.READ:
        return False
    if not view.leave.acts_in(meta.namespace):
        return True
    if is_undo(record):
        return False
    if step.stage is Stage.REMEDIATE or step.step.approval is not None:
        return True
    if not reviews.can_be_named(step):
        return False
    return not reviews.is_named(view.leave, view.compiled, meta.namespace, view.runbook_name, step)


def under_approval(view: View, record: StepRecord) -> Decision:
    """Begin what was approved as it was approved; ask where it was not."""
    used, run = approval.active(view.status), next_run(view, record)
    if used is None:
        return Ask(tuple(_covered(view, record)))
    if (entry := approval.entry_for(used, record.name)) is None:
        return Transition(overtaken(view.status, record.name))
    if is_outlived(view.status, view.now):
        return Transition(outlived(view.status, view.now))
    return Begin(run, approved=entry, trial_binds=used.plan[0].step == entry.step)


def nobody_may_approve(view: View) -> str:
    """Return why nobody may approve what the Runbook does, and what helps; empty where somebody may."""
    wrote, name = view.pinned.editors, view.runbook_name
    if len(_opener(view)) > MAX_NAME:
        return f"Whoever opened this Incident has a name of more than {MAX_NAME} characters, which cannot be excluded. {_OPEN_AGAIN}"
    if wrote is None:
        return f"Runbook {name}, revision {view.pinned.revision}: {reviews.UNKNOWN}. {_NEXT_TIME}"
    if len(wrote) >= MAX_EXCLUDED or any(len(each) > MAX_NAME for each in wrote):
        return f"Runbook {name}: not all of its editors can be excluded; somebody else has to review it. {_NEXT_TIME}"
    return ""


def asked(view: View, entries: Sequence[PlanEntry], nonce: str) -> IncidentStatus:
    """Return the status with a question about these steps, which nobody who wrote them may answer with yes."""
    names = [entry.step for entry in entries]
    meta = view.incident.metadata
    now = view.now.replace(microsecond=0)
    expires = now + limits.approval_expires(view.step_of(names[0]))
    hashed = approval.plan_hash(entries, _binding(view, expires, nonce))
    excluded, because = _excluded(view)
    pending = PendingApproval(
        plan_hash=hashed,
        asked_at=now,
        expires_at=expires,
        nonce=nonce,
        asked=approval.times_expired(view.status, names[0]) + 1,
        steps=names,
        plan=list(entries),
        excluded=excluded,
        excluded_because=because,
        edited_since=edited_since(view),
        changed=approval.voided_because(view.status, names[0])[:4096],
        approve_with=approval.command(meta.namespace, meta.name, Verb.APPROVE, hashed[:_SHOWN_HASH]),
        reject_with=approval.command(meta.namespace, meta.name, Verb.REJECT, hashed[:_SHOWN_HASH]),
    )
    waiting = view.status
    for name in names:  # how long an earlier try went on says nothing of the one that is asked for
        waiting = status.update(
            waiting, name, state=StepState.AWAITING_APPROVAL, reason="", summary="", since=None, not_before=None
        )
    return waiting.model_copy(update={"pending_approval": pending})


def edited_since(view: View) -> str:
    """Return that the Runbook was edited since the Incident began, for whoever decides; empty where it was not."""
    if isinstance(view.runbook, Blocked) or not view.runbook.edited:
        return ""
    return f"Runbook {view.runbook_name} was edited after this Incident began; this plan uses the version from before the edit"


def cannot_ask(view: View, run: Run, reason: str, message: str) -> IncidentStatus:
    """Stop, because nobody can be asked, or no answer can be trusted."""
    question = retry_question(view, view.status, run.record)
    stage_reason = reasons.RESTORE_FAILED if run.stage is Stage.RESTORE else reason
    return status.halt(view.status, stage_reason, message, question, remedy=f"Retry: {question.answer_with[0]}")


def put_off(current: IncidentStatus, run: Run, reason: str, message: str) -> IncidentStatus:
    """Note at a step why it cannot be asked for just now, and go on with what does not need it."""
    return status.update(current, run.record, reason=reason, summary=sanitize.text(message, status.SUMMARY_LIMIT))


def could_not_be_asked(view: View, record: str) -> bool:
    """Tell whether that was noted of a step that is not begun."""
    known = status.known(view.status, record)
    return known.state is StepState.PENDING and known.reason in _CANNOT_ASK


def approval_used_up(view: View) -> Decision | None:
    """An approval ends with its steps, and with the first that fails without `onFailure: continue`: what follows is asked anew."""
    left = used(view, view.status)
    return None if left is view.status else Transition(left)


def used(view: View, current: IncidentStatus) -> IncidentStatus:
    """Return a status without the active approval where that is used up."""
    given = approval.active(current)
    if given is None or isinstance(view.runbook, Blocked):
        return current
    known = ((name, view.compiled.steps.get(name)) for name in given.steps)
    goes_on = {name for name, step in known if step is not None and step.step.on_failure is OnFailure.CONTINUE}
    return approval.used(current, goes_on)


def is_outlived(current: IncidentStatus, now: datetime) -> bool:
    """Tell whether the approval in use was given too long ago; one without an end, made by hand, covers nothing.

    Where the clock went back since it was given, nobody can tell how long ago that was.
    """
    used = approval.active(current)
    if used is None or used.expires_at is None or now >= used.expires_at:
        return True
    return status.went_back(used.at, now)


def outlived(current: IncidentStatus, now: datetime) -> IncidentStatus:
    """End an approval that was given too long ago."""
    used = approval.active(current)
    back = used is not None and status.went_back(used.at, now)
    why = CLOCK_WENT_BACK if back else "the approval was given too long ago"
    return approval.end_active(current, ApprovalState.VOIDED, why)


def overtaken(current: IncidentStatus, step: str) -> IncidentStatus:
    """End an approval whose steps have to wait for one that it does not cover: one approval is used at a time."""
    return approval.end_active(
        current, ApprovalState.VOIDED, f"{step} has to be done first, and was not approved with it"
    )


def _covered(view: View, first: StepRecord) -> list[Run]:
    runs = [next_run(view, first)]
    if _alone(view.step(first)):
        return runs
    covered = {first.name}
    for record in _after(view, first):
        step = view.step(record)
        if record.state is not StepState.PENDING or _alone(step) or not needs_approval(view, record):
            break
        if dependencies_of(step) & covered:
            break
        wanted = (
            True if step.when is None else evaluation.condition(step.when, evaluation.facts(view.incident), view.now)
        )
        if wanted is not True:
            break
        runs.append(next_run(view, record))
        covered.add(record.name)
    return runs


def _after(view: View, first: StepRecord) -> list[StepRecord]:
    if is_undo(first):
        return []  # each is decided when the one before is done
    records = [record for record in view.records(first.stage) if not is_undo(record)]
    names = [record.name for record in records]
    return records[names.index(first.name) + 1 :]


def _binding(view: View, expires: datetime, nonce: str) -> approval.Binding:
    return approval.Binding(view.incident.metadata.uid, view.pinned.revision, view.status.parameters, expires, nonce)


def _excluded(view: View) -> tuple[list[str], str]:
    why = {_opener(view): "opened this incident"} | dict.fromkeys(view.pinned.editors or (), "edited the runbook")
    why.pop("", None)
    return sorted(why), sanitize.text("; ".join(f"{who} {did}" for who, did in sorted(why.items())), 512)


def _opener(view: View) -> str:
    return view.incident.metadata.annotations.get(OPENED_BY, "")


def _alone(step: CompiledStep) -> bool:
    return step.step.approval is not None and step.step.approval.alone


_TOLD_LIMIT = 400


def after_failure(view: View, stage: Stage) -> Decision | None:
    """Unwind before calling a human: all mitigations when one failed, those that say so when verification failed."""
    match stage:
        case Stage.MITIGATE:
            return _undo_next(view, lambda _: True)
        case Stage.VERIFY:
            return _undo_next(view, lambda on: UndoOn.FAILED in on)
        case _:
            return None


def when_resolved(view: View) -> Decision | None:
    """Take back what was temporary, now that the trouble is over."""
    return _undo_next(view, lambda on: UndoOn.RESOLVED in on)


def when_aborted(view: View) -> Decision | None:
    """Take everything temporary back, whatever its `undoOn` says: a person asked for it when they aborted."""
    return _undo_next(view, lambda _: True)


def left_in_place(current: IncidentStatus) -> list[str]:
    """Return each mitigation that stays in place, with what it did, and the command that puts that back where one is known."""
    left = [record for record in current.steps if record.undo in {UndoState.PENDING, UndoState.FAILED}]
    return [texts.cut(_left(record), _TOLD_LIMIT) for record in left]


def put_back_with(record: StepRecord) -> str:
    """Return the command by which a person puts back what a step changed; empty where its action knows none."""
    return str((record.captured or {}).get("undoWith", ""))


def _left(record: StepRecord) -> str:
    by_hand = put_back_with(record)
    parts = [record.summary.rstrip("."), f"put it back: {by_hand}" if by_hand else ""]
    told = "; ".join(filter(None, parts))
    return f"{record.name} ({told})" if told else record.name


def told(current: IncidentStatus) -> str:
    """Say which mitigations were undone and which stay in place, for the message of a stop."""
    undone = [record.name for record in current.steps if record.undo is UndoState.DONE]
    kept = [record.name for record in current.steps if record.undo is UndoState.PENDING]
    parts = [f" Undone: {', '.join(undone)}." if undone else "", f" Still in place: {', '.join(kept)}." if kept else ""]
    return texts.cut("".join(parts), _TOLD_LIMIT)


def _undo_next(view: View, applies: Callable[[list[UndoOn]], bool]) -> Decision | None:
    for record in reversed(list(view.records(Stage.MITIGATE))):
        if record.undo is UndoState.PENDING and applies(view.step(record).step.undo_on):
            return _undo(view, record)
        if record.undo is UndoState.FAILED:
            return _failed(view, record)
    return None


def _undo(view: View, record: StepRecord) -> Decision:
    undo = status.find(view.status, undo_name(record.name))
    if undo is None:
        return Transition(_listed(view, record))
    if undo.state in status.FINISHED:
        return Transition(status.reset(view.status, [undo.name]))
    if (until := status.waits_until(undo, view.now)) is not None:
        return Wait(until)
    return under_approval(view, undo) if needs_approval(view, undo) else Begin(next_run(view, undo))


def _listed(view: View, record: StepRecord) -> IncidentStatus:
    undo = view.step(record).undo
    if undo is None:
        return status.update(view.status, record.name, undo=None)
    entry = StepRecord(
        name=undo_name(record.name), stage=Stage.RESTORE, action=undo.act.key, effect=undo.act.effect.value
    )
    return view.status.model_copy(update={"steps": [*view.status.steps, entry]})


def _failed(view: View, record: StepRecord) -> Decision:
    undo = status.find(view.status, undo_name(record.name))
    why = undo.summary if undo is not None else "it could not be rendered"
    question = undo_question(view, view.status, undo_name(record.name))
    again, by_hand = question.answer_with
    message = f"The undo of {record.name} failed: {why.rstrip('.')}. What {record.name} changed is still in place."
    remedy = f"Retry: {again} Or fix it by hand, then answer: {by_hand}"
    return Transition(status.halt(view.status, reasons.RESTORE_FAILED, message, question, remedy=remedy))
