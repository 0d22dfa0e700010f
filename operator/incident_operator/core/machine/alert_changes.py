"""Alerts that go away, or come back, while the Incident is under way."""

from collections.abc import Iterator

from incident_operator.api.approvals import ApprovalState
from incident_operator.api.incident import IncidentStatus, Phase, StepRecord, StepState
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, reasons
from incident_operator.core.machine import keys, said, status
from incident_operator.core.machine.decisions import Decision, Transition, Wait
from incident_operator.core.machine.view import View

_FIRES_AGAIN = "the alert fires again"
_ACTING = frozenset({Stage.MITIGATE, Stage.REMEDIATE})
_UNWOUND_AFTER = frozenset({Stage.MITIGATE, Stage.VERIFY})
_SETTLED_BY_RESOLVING = frozenset({Stage.DIAGNOSE, Stage.MITIGATE, Stage.REMEDIATE})
"""Stages whose stop needs nobody any more once the alert is gone. What stopped later still does."""


def alert_went_away(view: View) -> Decision | None:
    """When all alerts have resolved, no act is begun before verification; what waits for an answer is withdrawn."""
    if not view.incident.is_over or _needs_a_person_still(view):
        return None
    unbegun = [record.name for record in _unbegun(view)]
    if not unbegun and view.status.phase is not Phase.NEEDS_HUMAN:
        return None
    return Transition(_leave_out(view, unbegun))


def alert_came_back(view: View) -> Decision | None:
    """When an alert fires again before the end, what was left out is wanted again, and nobody's leave to restore holds."""
    if view.incident.is_over or not view.incident.spec.alerts:
        return None
    left_out = [
        r.name for r in view.status.steps if r.state is StepState.SKIPPED and r.reason == reasons.ALERT_RESOLVED
    ]
    asked = _asked_to_restore(view)
    allowed = _allowed_to_restore(view)
    if not left_out and not asked and not allowed:
        return None
    current = approval.withdraw(view.status, _FIRES_AGAIN, view.now) if asked else view.status
    current = approval.end_active(current, ApprovalState.VOIDED, _FIRES_AGAIN) if allowed else current
    return Transition(status.reset(current, [*left_out, *asked]))


def halted(view: View) -> Decision | None:
    """An Incident that needs a human waits for one."""
    return Wait(None) if view.status.phase is Phase.NEEDS_HUMAN else None


def _needs_a_person_still(view: View) -> bool:
    question = view.status.pending_answer
    if question is None or view.status.reason == reasons.ALERT_STILL_FIRING:
        return False
    asked = status.find(view.status, question.step)
    return asked is None or asked.state is StepState.UNKNOWN or asked.stage not in _SETTLED_BY_RESOLVING


def _unbegun(view: View) -> Iterator[StepRecord]:
    waiting = {StepState.PENDING, StepState.AWAITING_APPROVAL}
    return (record for record in view.status.steps if record.stage in _ACTING and record.state in waiting)


def _asked_to_restore(view: View) -> list[str]:
    pending = view.status.pending_approval
    return [name for name in pending.steps if _restores(view, name)] if pending is not None else []


def _allowed_to_restore(view: View) -> bool:
    """Tell whether an approval is active that was given for a world without the alert."""
    given = approval.active(view.status)
    return given is not None and any(_restores(view, name) for name in given.steps)


def _restores(view: View, name: str) -> bool:
    """Tell whether a step is asked about because the alert has resolved; an undo may be one of a failure as well."""
    if status.known(view.status, name).stage is not Stage.RESTORE:
        return False
    unwinds = any(r.state is StepState.FAILED and r.stage in _UNWOUND_AFTER for r in view.status.steps)
    return not (unwinds and name.startswith(keys.UNDO_PREFIX))


def _leave_out(view: View, names: list[str]) -> IncidentStatus:
    why = said.left_out(view)
    current = approval.withdraw(view.status, why, view.now)
    current = approval.end_active(current, ApprovalState.VOIDED, why)
    current = status.go_on(current) if current.phase is Phase.NEEDS_HUMAN else current
    return status.skip(current, names, reasons.ALERT_RESOLVED, why)
