"""The last rungs: wait for the alert to go away, take back what was temporary, close."""

from datetime import datetime

from incident_operator.api.incident import Phase, StepRecord, StepState
from incident_operator.api.meta import delta
from incident_operator.api.runbook import Stage
from incident_operator.core import reasons
from incident_operator.core.machine import answers, said, status, undoing
from incident_operator.core.machine.decisions import Decision, Transition, Wait
from incident_operator.core.machine.retrying import retry_question
from incident_operator.core.machine.start import detected_at
from incident_operator.core.machine.view import View, is_undo

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
    remedy = f"{close} If the alert is over: {said.over_command(view)}"
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
