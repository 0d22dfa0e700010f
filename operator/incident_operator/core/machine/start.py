"""The first rungs: is there anything to do at all, and with which Runbook and parameters."""

from datetime import datetime

from incident_operator.api.approvals import ApprovalState
from incident_operator.api.incident import CLOSED_PHASES, Incident, IncidentStatus, Phase, StepRecord, StepState
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, reasons
from incident_operator.core.effects import Effect
from incident_operator.core.expressions import facts
from incident_operator.core.machine import answers, rolled_back, said, status
from incident_operator.core.machine.decisions import Decision, Stop, Transition, Wait
from incident_operator.core.machine.view import Blocked, View
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
    why = view.runbook if isinstance(view.runbook, Blocked) else rolled_back.of_another(view.incident)
    return _cannot_go_on(view, why) if why is not None else None


def not_started(view: View) -> Decision | None:
    """The first reconciliation pins the Runbook, resolves the parameters and lists what may happen.

    Nothing is pinned while a parameter is invalid, so that a Runbook that is mended is taken up.
    """
    if view.status.runbook_revision:
        return None
    compiled = view.compiled
    found = parameters.resolve(compiled.parameters, facts.alert_variable(view.incident), view.now)
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
    why = said.left_out(view)
    withdrawn = approval.withdraw(view.status, why, view.now)
    withdrawn = approval.end_active(withdrawn, ApprovalState.VOIDED, why)
    unbegun = [record.name for record in withdrawn.steps if record.state not in status.FINISHED]
    current = status.skip(withdrawn, unbegun, reasons.ALERT_RESOLVED, why).model_copy(update={"times": times})
    by = said.who_said_over(view)
    message = (
        f"{by} said that the alert is over; nothing was done."
        if by
        else "The alert resolved by itself; nothing was done."
    )
    return status.halt(current, reasons.RESOLVED, message, phase=Phase.RESOLVED)


def _same_halt(current: IncidentStatus, wanted: IncidentStatus) -> bool:
    return (current.phase, current.reason, current.message) == (wanted.phase, wanted.reason, wanted.message)
