"""The first rungs and the last: is there anything to do at all, and with what; wait for the alert to go away, restore, close."""

from datetime import datetime

from incident_operator.api.approvals import ApprovalState
from incident_operator.api.incident import CLOSED_PHASES, Incident, IncidentStatus, Phase, StepRecord, StepState
from incident_operator.api.meta import delta
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, reasons
from incident_operator.core.expressions import evaluation
from incident_operator.core.machine import alert_changes, answers, status, undoing
from incident_operator.core.machine.in_flight import of_another
from incident_operator.core.machine.undoing import retry_question
from incident_operator.core.machine.view import Blocked, Decision, Stop, Transition, View, Wait, is_undo
from incident_operator.core.outcomes import Effect
from incident_operator.core.runbooks import parameters
from incident_operator.core.runbooks.compiled import Compiled

_BLOCKS = frozenset(
    {
        reasons.NO_RUNBOOK,
        reasons.RUNBOOK_NOT_FOUND,
        reasons.RUNBOOK_NOT_READY,
        reasons.RUNBOOK_SUSPENDED,
        reasons.INCIDENT_TOO_LARGE,
        reasons.VISIT_FAILED,
    }
)


def closed(view: View) -> Decision | None:
    """A closed Incident is never touched again."""
    return Stop() if view.status.phase in CLOSED_PHASES else None


def blocked(view: View) -> Decision | None:
    """Without a usable Runbook nothing is done: a human is called, and the alert may still resolve by itself."""
    why = view.runbook if isinstance(view.runbook, Blocked) else of_another(view.incident)
    return _cannot_go_on(view, why) if why is not None else None


def not_started(view: View) -> Decision | None:
    """The first reconciliation pins the Runbook, resolves the parameters and lists what may happen.

    Nothing is pinned while a parameter is invalid, so that a Runbook that is mended is taken up.
    """
    if view.status.runbook_revision:
        return None
    compiled = view.compiled
    found = parameters.resolve(compiled.parameters, evaluation.alert_variable(view.incident), view.now)
    if isinstance(found, parameters.ParameterError):
        return _cannot_go_on(view, Blocked(reasons.PARAMETER_INVALID, found.message))
    update = {"runbook_revision": view.pinned.revision, "parameters": found, "steps": _records(compiled)}
    return Transition(status.go_on(view.status).model_copy(update=update))


def unblocked(view: View) -> Decision | None:
    """A pinned Runbook that had been lost is there again: go on where it was."""
    waits = view.status.phase is Phase.NEEDS_HUMAN and view.status.reason in _BLOCKS
    return Transition(status.go_on(view.status)) if waits else None


def detected_at(incident: Incident, now: datetime) -> datetime:
    """Return when the Incident was detected: when it was created."""
    return incident.metadata.creation_timestamp or now


def _cannot_go_on(view: View, why: Blocked) -> Decision:
    if (stop := answers.aborted(view)) is not None:
        return stop
    if (by := status.aborted_by(view.status)) is not None:
        return answers.aborted_for_good(view, by)  # what is under way cannot be followed without its Runbook
    if view.incident.is_over and not _has_acted(view.status):
        return Transition(_resolved_by_itself(view))
    withdrawn = _without_question(view, why)
    remedy = f"Close this incident: {answers.abort_command(view)}"
    wanted = status.halt(withdrawn, why.reason, why.message, remedy=remedy)
    return Wait(None) if _same_halt(view.status, wanted) else Transition(wanted)


def _records(compiled: Compiled) -> list[StepRecord]:
    return [
        StepRecord(name=step.step.name, stage=step.stage, action=step.act.key, effect=step.act.effect.value)
        for stage in Stage
        for step in compiled.stage(stage)
    ]


def _has_acted(current: IncidentStatus) -> bool:
    return any(record.effect != Effect.READ and record.attempt > 0 for record in current.steps)


def _without_question(view: View, why: Blocked) -> IncidentStatus:
    pending = view.status.pending_approval
    if pending is None:
        return view.status
    return status.mark(approval.withdraw(view.status, why.message, view.now), pending.steps, StepState.PENDING)


def _resolved_by_itself(view: View) -> IncidentStatus:
    times = view.status.times.model_copy(update={"resolved": view.now.replace(microsecond=0)})
    why = alert_changes.left_out(view)
    withdrawn = approval.withdraw(view.status, why, view.now)
    withdrawn = approval.end_active(withdrawn, ApprovalState.VOIDED, why)
    unbegun = [record.name for record in withdrawn.steps if record.state not in status.FINISHED]
    current = status.skip(withdrawn, unbegun, reasons.ALERT_RESOLVED, why).model_copy(update={"times": times})
    by = alert_changes.who_said_over(view)
    message = (
        f"{by} said that the alert is over; nothing was done."
        if by
        else "The alert resolved by itself; nothing was done."
    )
    return status.halt(current, reasons.RESOLVED, message, phase=Phase.RESOLVED)


def _same_halt(current: IncidentStatus, wanted: IncidentStatus) -> bool:
    return (current.phase, current.reason, current.message) == (wanted.phase, wanted.reason, wanted.message)


_CAN_WAIT = frozenset({StepState.PENDING, StepState.RUNNING})


def alert_still_fires(view: View) -> Decision | None:
    """All was done and verified; the alert has some time to resolve, then a human looks."""
    if view.incident.is_over or not view.incident.spec.alerts:
        return None
    deadline = resolve_deadline(view)
    if view.now < deadline:
        return Wait(deadline)
    within = view.compiled.spec.resolve_timeout
    message = (
        f"The alert still fires {within} after everything was done; somebody has to look.{undoing.told(view.status)}"
    )
    reads = [record.name for record in view.records(Stage.VERIFY)]
    question = retry_question(view, view.status, reads[0]) if reads else None
    again = f"Verify again: {question.answer_with[0]} Or c" if question is not None else "C"
    undo = ' ("undo" instead of "now" undoes what is in place)' if undoing.left_in_place(view.status) else ""
    close = f"{again}lose this incident: {answers.abort_command(view)}{undo}"
    remedy = f"{close} If the alert is over: {alert_changes.over_command(view)}"
    return Transition(status.halt(view.status, reasons.ALERT_STILL_FIRING, message, question, remedy=remedy))


def waits_for_alert(view: View, record: StepRecord) -> bool:
    """Tell whether a step is not next although it comes next, or is polled: it restores, and an alert still fires.

    An undo that is due again at some moment is one of a failure, which waits for no alert.
    """
    if view.incident.is_over or not view.incident.spec.alerts or record.stage is not Stage.RESTORE:
        return False
    return record.state in _CAN_WAIT and not (is_undo(record) and record.not_before is not None)


def next_record(view: View) -> StepRecord | None:
    """Return the step that comes next; an undo that is due at some moment comes before what its failure stopped."""
    unfinished = [r for r in view.status.steps if r.state not in status.FINISHED and not waits_for_alert(view, r)]
    due = (record for record in unfinished if is_undo(record) and record.not_before is not None)
    return next(due, None) or next(iter(unfinished), None)


def resolve_deadline(view: View) -> datetime:
    """Return until when the alert may go on firing after the last step, before a human is called."""
    return done_at(view) + delta(view.compiled.spec.resolve_timeout)


def close(view: View) -> Decision:
    """Nothing is left to do."""
    times = view.status.times.model_copy(update={"resolved": view.now.replace(microsecond=0)})
    current = view.status.model_copy(update={"times": times})
    return Transition(status.halt(current, reasons.RESOLVED, "", phase=Phase.RESOLVED))


def done_at(view: View) -> datetime:
    """Return when the last step ended; where there was none, when the trouble was detected."""
    finished = [record.finished_at for record in view.status.steps if record.finished_at is not None]
    return max(finished, default=detected_at(view.incident, view.now))
