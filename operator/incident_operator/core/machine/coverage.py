"""When a step needs a person's approval, which steps one question covers, and what the question says."""

from collections.abc import Sequence
from datetime import datetime

from incident_operator.api import annotations
from incident_operator.api.approvals import MAX_EXCLUDED, MAX_NAME, ApprovalState, PendingApproval, PlanEntry
from incident_operator.api.incident import IncidentStatus, StepRecord, StepState
from incident_operator.api.runbook import OnFailure, Stage
from incident_operator.core import approval, plan, reasons, sanitize
from incident_operator.core.effects import Effect
from incident_operator.core.expressions import evaluation, facts
from incident_operator.core.machine import limits, status
from incident_operator.core.machine.decisions import Ask, Begin, Decision, Run, Transition
from incident_operator.core.machine.retrying import retry_question
from incident_operator.core.machine.view import Blocked, View, is_undo, next_run
from incident_operator.core.runbooks import dependencies, editors, unasked
from incident_operator.core.runbooks.compiled import CompiledStep

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
    if not unasked.can_be_named(step):
        return False
    return not unasked.is_named(view.leave, view.compiled, meta.namespace, view.runbook_name, step)


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
        return f"Runbook {name}, revision {view.pinned.revision}: {editors.UNKNOWN}. {_NEXT_TIME}"
    if len(wrote) >= MAX_EXCLUDED or any(len(each) > MAX_NAME for each in wrote):
        return f"Runbook {name}: not all of its editors can be excluded; somebody else has to review it. {_NEXT_TIME}"
    return ""


def asked(view: View, entries: Sequence[PlanEntry], nonce: str) -> IncidentStatus:
    """Return the status with a question about these steps, which nobody who wrote them may answer with yes."""
    names = [entry.step for entry in entries]
    meta = view.incident.metadata
    now = view.now.replace(microsecond=0)
    expires = now + limits.approval_expires(view.step_of(names[0]))
    hashed = plan.plan_hash(entries, _binding(view, expires, nonce))
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
        approve_with=approval.command(meta.namespace, meta.name, annotations.Verb.APPROVE, hashed[:_SHOWN_HASH]),
        reject_with=approval.command(meta.namespace, meta.name, annotations.Verb.REJECT, hashed[:_SHOWN_HASH]),
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
        if dependencies.of(step) & covered:
            break
        wanted = True if step.when is None else evaluation.condition(step.when, facts.facts(view.incident), view.now)
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


def _binding(view: View, expires: datetime, nonce: str) -> plan.Binding:
    return plan.Binding(view.incident.metadata.uid, view.pinned.revision, view.status.parameters, expires, nonce)


def _excluded(view: View) -> tuple[list[str], str]:
    why = {_opener(view): "opened this incident"} | dict.fromkeys(view.pinned.editors or (), "edited the runbook")
    why.pop("", None)
    return sorted(why), sanitize.text("; ".join(f"{who} {did}" for who, did in sorted(why.items())), 512)


def _opener(view: View) -> str:
    return view.incident.metadata.annotations.get(annotations.OPENED_BY, "")


def _alone(step: CompiledStep) -> bool:
    return step.step.approval is not None and step.step.approval.alone
