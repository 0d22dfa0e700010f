"""Alerts that go away, or come back, while the Incident is under way."""

from collections.abc import Iterator

from incident_operator.api.incident import ApprovalState, IncidentStatus, Phase, StepRecord, StepState
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, reasons, status
from incident_operator.core.decisions import Decision, Transition, Wait
from incident_operator.core.view import View

_NEEDS_A_PERSON = frozenset({reasons.STEP_UNKNOWN, reasons.RESTORE_FAILED, reasons.VERIFICATION_FAILED})
"""Stops that a resolved alert does not settle."""
_LEFT_OUT = "the alert resolved before this began"
_BEFORE_VERIFY = (Stage.DIAGNOSE, Stage.MITIGATE, Stage.REMEDIATE)


def alert_went_away(view: View) -> Decision | None:
    """When all alerts have resolved, nothing more is begun before verification; what waits for an answer is withdrawn."""
    if not view.incident.spec.resolved:
        return None
    unbegun = [record.name for record in _unbegun(view)]
    halted = view.status.phase is Phase.NEEDS_HUMAN
    if not unbegun and not (halted and view.status.reason not in _NEEDS_A_PERSON):
        return None
    if halted and view.status.reason in _NEEDS_A_PERSON:
        return None
    return Transition(_leave_out(view, unbegun))


def alert_came_back(view: View) -> Decision | None:
    """When an alert of the group fires again before the end, what was left out because of it is wanted again."""
    if view.incident.spec.resolved:
        return None
    left_out = [
        r.name for r in view.status.steps if r.state is StepState.SKIPPED and r.reason == reasons.ALERT_RESOLVED
    ]
    return Transition(status.reset(view.status, left_out)) if left_out else None


def halted(view: View) -> Decision | None:
    """An Incident that needs a human waits for one."""
    return Wait(None) if view.status.phase is Phase.NEEDS_HUMAN else None


def _unbegun(view: View) -> Iterator[StepRecord]:
    waiting = {StepState.PENDING, StepState.AWAITING_APPROVAL}
    return (r for r in view.status.steps if r.stage in _BEFORE_VERIFY and r.state in waiting)


def _leave_out(view: View, names: list[str]) -> IncidentStatus:
    current = approval.withdraw(view.status, _LEFT_OUT, view.now)
    current = approval.end_active(current, ApprovalState.VOIDED, _LEFT_OUT)
    current = status.go_on(current) if current.phase is Phase.NEEDS_HUMAN else current
    return status.skip(current, names, reasons.ALERT_RESOLVED, _LEFT_OUT)
