"""The one line for the reader at 03:00: what it waits for, for whom, until when. Stable: no relative times."""

import re
from datetime import UTC, datetime, timedelta

from incident_operator.api.approvals import PendingApproval
from incident_operator.api.incident import CLOSED_PHASES, Phase, StepRecord, StepState, UndoState, Verb
from incident_operator.api.meta import delta
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, reasons, texts
from incident_operator.core.machine import alert_changes, in_flight, start_and_end, status, undoing
from incident_operator.core.machine.view import UNDO_PREFIX, View, is_undo
from incident_operator.core.outcomes import Effect
from incident_operator.core.runbooks import limits

_WORTH_TELLING = timedelta(seconds=30)
"""How long an act runs before its progress is worth a write."""
_AGE = re.compile(r",? (for|after) [0-9.]+(ms|s|m|h)\b")
_NAME_SHOWN, _HASH_SHOWN = 40, 12
_HUMAN_WAITS = {
    reasons.NO_RUNBOOK: "no runbook matches",
    reasons.RUNBOOK_NOT_FOUND: "a person: the runbook is missing",
    reasons.RUNBOOK_NOT_READY: "a person: the runbook is not ready",
    reasons.RUNBOOK_SUSPENDED: "a person: the runbook is suspended",
    reasons.INCIDENT_TOO_LARGE: "a person: the incident is too large",
    reasons.PARAMETER_INVALID: "a person: a label is not valid",
    reasons.APPROVAL_POLICY_MISSING: "a person: approvals cannot be trusted",
    reasons.STEP_UNKNOWN: "a person: did the step happen?",
    reasons.RECORD_ROLLED_BACK: "a person: the record is too old",
    reasons.STEP_FAILED: "a person: a step failed",
    reasons.CONDITION_UNKNOWN: "a person: a condition is unknown",
    reasons.EXPRESSION_OVER_BUDGET: "a person: an expression is over its budget",
    reasons.PLAN_FAILED: "a person: the plan cannot be made",
    reasons.REJECTED: "a person: the plan was rejected",
    reasons.APPROVAL_EXPIRED: "a person: nobody approved",
    reasons.VERIFICATION_FAILED: "a person: verification failed",
    reasons.RESTORE_FAILED: "a person: restore failed",
    reasons.ALERT_STILL_FIRING: "a person: the alert still fires",
}


def told(view: View) -> tuple[str, str]:
    """Return the reason and the message for the phase that the status is in."""
    current = view.status
    if current.phase is Phase.RESOLVED and current.reason == reasons.RESOLVED:
        return current.reason, current.message or _resolved(view)
    if current.phase in CLOSED_PHASES or current.phase is Phase.NEEDS_HUMAN:
        return current.reason, current.message
    if current.phase is Phase.AWAITING_APPROVAL:
        return reasons.AWAITING_APPROVAL, _asks(view)
    if (by := status.aborted_by(current)) is not None and (record := in_flight.running(current)) is not None:
        return reasons.ABORTING, _aborting(view, record, by)
    if status.abort_undoes(current) and (record := start_and_end.next_record(view)) is not None and is_undo(record):
        return reasons.ABORTING, f"Aborting, as {status.aborted_by(current)} asked. {_next(record)}"
    if (record := _running(view)) is not None:
        return reasons.RUNNING, f"{_doing(view, record)}, until {_until(view, record)} at the latest."
    if (record := start_and_end.next_record(view)) is not None:
        return reasons.RUNNING, _next(record)
    return reasons.WAITING_FOR_RESOLVE, _until_resolved(view)


def waiting_for(view: View) -> str:
    """Return what `kubectl get` shows as WAITING-FOR."""
    if view.status.phase in CLOSED_PHASES:
        return "-"
    awaited, there = _awaited(view), alert_changes.on_it(view)
    if there is None:
        return awaited
    return f"{awaited} ({texts.cut(there.by, _NAME_SHOWN)} is on it until {clock(there.until)})"


def _awaited(view: View) -> str:
    current = view.status
    if current.phase is Phase.NEEDS_HUMAN:
        return _HUMAN_WAITS.get(current.reason, f"a person: {current.reason}")
    if current.pending_approval is not None:
        return f"approval until {clock(current.pending_approval.expires_at, current.pending_approval.asked_at)}"
    if (record := _running(view)) is not None:
        return f"{record.name} until {_until(view, record)}"
    if (record := start_and_end.next_record(view)) is not None and record.not_before is not None:
        return f"{record.name} again at {clock(record.not_before, record.polled_at)}"
    if current.phase is Phase.VERIFYING:
        return f"the alert to resolve until {_resolves_by(view)}"
    return "-"


def clock(moment: datetime, since: datetime | None = None) -> str:
    """Return a time of day as people say it at night: `03:51` (UTC, as all times in the object).

    Where that is another day than `since`, when the wait began, the date stands before it: `2026-11-30 03:51`.
    """
    told = moment.astimezone(UTC)
    day = f"{told:%Y-%m-%d} " if since is not None and since.astimezone(UTC).date() != told.date() else ""
    return f"{day}{told:%H:%M}"


def elapsed(start: datetime | None, end: datetime | None) -> str:
    """Return a duration as people say it: `2m10s`; empty where either end is missing."""
    if start is None or end is None:
        return ""
    seconds = max(0, int((end - start).total_seconds()))
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "m"), (rest, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def _running(view: View) -> StepRecord | None:
    running = [record for record in view.status.steps if record.state is StepState.RUNNING]
    effects = [record for record in running if record.effect != Effect.READ]
    if effects:
        return effects[0]
    following = start_and_end.next_record(view)
    return next((record for record in running if following is not None and record.stage is following.stage), None)


def _deadline(view: View, record: StepRecord) -> datetime:
    began = record.started_at or view.now
    step = view.step(record)
    if step.step.until is not None:
        return began + delta(step.step.until.for_)
    until = began + limits.timeout(step, record.action)
    return until if record.not_before is None else max(until, record.not_before)


def _until(view: View, record: StepRecord) -> str:
    return clock(_deadline(view, record), record.started_at)


def _resolves_by(view: View) -> str:
    return clock(start_and_end.resolve_deadline(view), start_and_end.done_at(view))


def _doing(view: View, record: StepRecord) -> str:
    if is_undo(record):
        return f"Undoing {view.step(record).step.name}{_about(record)}"
    described = view.step(record).step.description.rstrip(".")
    return f"Running {record.name}{f': {described}' if described else ''}{_about(record)}"


def _aborting(view: View, record: StepRecord, by: str) -> str:
    """Say what still runs after an abort, and how to stop it."""
    stop = str((record.seen or {}).get("stopWith", ""))
    until = f"until {_until(view, record)} UTC at the latest"
    remedy = f" Stop it: {stop}" if stop else ""
    then = "then what was changed is undone" if status.abort_undoes(view.status) else "nothing else starts"
    if is_undo(record) and status.abort_undoes(view.status):
        return f"Aborting, as {by} asked: undoing {record.name.removeprefix(UNDO_PREFIX)}, {until}; nothing else starts.{remedy}"
    return f"Aborting, as {by} asked: {record.name} still runs, {until}; {then}.{remedy}"


def _about(record: StepRecord) -> str:
    """Say how an act stands once it takes long, without the times that would change at every look."""
    began, looked = record.started_at, record.polled_at
    if record.effect == Effect.READ or began is None or looked is None or looked < began + _WORTH_TELLING:
        return ""
    stands = _AGE.sub("", record.summary)
    return f" ({stands})" if stands else ""


def _asks(view: View) -> str:
    pending = view.status.pending_approval
    if pending is None:
        return ""
    first = status.find(view.status, pending.steps[0])
    described = view.step(first).step.description if first is not None and not is_undo(first) else ""
    what = described.rstrip(".") or ", ".join(pending.steps)
    steps = texts.counted(len(pending.steps), "step")
    until = clock(pending.expires_at, pending.asked_at)
    changed = f" Asked again because: {pending.changed}" if pending.changed else ""
    edited = undoing.edited_since(view)
    asks = f"Approve or reject by {until} UTC: {what} ({steps}).{_mitigation(view)}{changed}"
    return f"{asks}{f' {edited}.' if edited else ''}{_older_approval(view, pending)}{_presence(view)}"


def _older_approval(view: View, pending: PendingApproval) -> str:
    """Say that the approval which stands on the Incident is for another plan: writing it again changes nothing, and nobody is told."""
    found = approval.answer(view.incident.metadata.annotations, Verb.APPROVE)
    if found is None or approval.answers_plan(found, pending):
        return ""
    older = texts.cut(found.token, _HASH_SHOWN)
    return f" The approval by {found.by} is for an older plan ({older}); this one is {pending.plan_hash[:_HASH_SHOWN]}."


def _presence(view: View) -> str:
    """Say who is on it, if somebody is."""
    there = alert_changes.on_it(view)
    return f" {there.by} is on it until {clock(there.until, there.at)} UTC." if there is not None else ""


def _mitigation(view: View) -> str:
    if view.status.times.mitigated is None:
        return ""
    helped = [r for r in view.status.steps if r.stage is Stage.MITIGATE and r.undo is UndoState.PENDING]
    described = [view.step(record).step.description.rstrip(".") or record.name for record in helped]
    return (
        f" Since {clock(view.status.times.mitigated, view.status.times.detected)}: {'; '.join(described)}."
        if described
        else ""
    )


def _until_resolved(view: View) -> str:
    verified = any(r.stage is Stage.VERIFY and r.state is StepState.SUCCEEDED for r in view.status.steps)
    done = "Verified" if verified else "All steps are done"
    until = _resolves_by(view)
    return f"{done}. Waiting for the alert to resolve until {until} UTC; after that a person is needed.{undoing.told(view.status)}{_silenced(view)}"


def _silenced(view: View) -> str:
    """Say why the end may never be told, and what helps."""
    silence = alert_changes.silence(view)
    if silence is None:
        return ""
    until = f" until {clock(silence.until, view.status.times.detected)} UTC" if silence.until is not None else ""
    by = f" by {texts.cut(silence.by, _NAME_SHOWN)}" if silence.by else ""
    return f" Alertmanager silences {silence.alerts} of its alerts{until}{by}. If it is over: {alert_changes.over_command(view)}"


def _next(record: StepRecord) -> str:
    if record.not_before is None:
        return f"Next: {record.name}."
    what = "failed" if record.since is None else "has not started"
    return f"{record.name} {what} ({record.summary}) and is tried again at {record.not_before:%H:%M:%S} UTC."


def _resolved(view: View) -> str:
    states = {StepState.SUCCEEDED, StepState.UNDONE}
    acted = [record for record in view.status.steps if record.effect != Effect.READ and record.state in states]
    took = elapsed(view.status.times.detected, view.status.times.resolved)
    approvers = sorted({by for record in acted if (by := approval.approver(view.status, record.name))})
    by = f" Approved by {', '.join(approvers)}." if approvers else ""
    did = f"Done: {', '.join(record.name for record in acted)}." if acted else "No change was needed."
    over = alert_changes.who_said_over(view)
    return f"Resolved in {took}. {did}{by}{f' {over} said that the alert is over.' if over else ''}"
