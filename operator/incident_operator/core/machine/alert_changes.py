"""What becomes of alerts while the Incident is under way: they go away, come back, are silenced, or a person says that they are over.

What people say without being asked (the alert is over, I am on it) begins nothing by itself.
"""

import re
from collections.abc import Iterator

from incident_operator.api.approvals import Acknowledgement, ApprovalState, Over
from incident_operator.api.incident import IncidentStatus, Phase, Silence, StepRecord, StepState, Verb
from incident_operator.api.meta import delta
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, reasons
from incident_operator.core.approval import Answer
from incident_operator.core.machine import status
from incident_operator.core.machine.view import UNDO_PREFIX, Decision, Transition, View, Wait

_ALERTS = re.compile(r"[0-9]{1,4}", re.ASCII)
_LASTS = re.compile(r"(?P<time>[0-9]{1,2}h(?:[0-9]{1,4}m)?|[0-9]{1,4}m)(?:/[0-9A-Za-z:._-]{1,32})?", re.ASCII)
"""How long, and maybe something behind a slash that makes it another value than the one before; as in incident-approval.yaml."""
LONGEST = delta("24h")


def acknowledgement(view: View) -> Decision | None:
    """Somebody is on it: the promise is met, and people see who it is until when. Who takes the annotation away is not any more."""
    found = approval.answer(view.incident.metadata.annotations, Verb.ACKNOWLEDGE)
    kept = view.status.acknowledgement
    if found is None:
        return None if kept is None else Transition(view.status.model_copy(update={"acknowledgement": None}))
    if kept is not None and (kept.token, kept.by) == (found.token, found.by):
        return None
    given = _acknowledgement(view, found)
    if given is None:
        return None
    return Transition(status.acknowledged(view.status.model_copy(update={"acknowledgement": given}), view.now))


def over(view: View) -> Decision | None:
    """The alerts that are listed are over, says somebody: what follows is as if Alertmanager had told it."""
    found = approval.answer(view.incident.metadata.annotations, Verb.OVER)
    if found is None or not _ALERTS.fullmatch(found.token) or status.aborted_by(view.status) is not None:
        return None
    known = view.status.over
    if view.incident.is_over or int(found.token) > len(view.incident.spec.alerts):
        return None
    if known is not None and int(found.token) <= known.alerts:
        return None
    return Transition(_recorded(view, found))


def on_it(view: View) -> Acknowledgement | None:
    """Return who is on it at this moment."""
    given = view.status.acknowledgement
    return given if given is not None and view.now < given.until else None


def silence(view: View) -> Silence | None:
    """Return what silences alerts of the Incident at this moment, as far as a Connection told."""
    kept = view.incident.spec.silence
    if kept is None or view.incident.is_over or (kept.until is not None and kept.until <= view.now):
        return None
    return kept


def who_said_over(view: View) -> str:
    """Return who said that it is over; empty where Alertmanager told it, or where it is not."""
    told = view.status.over
    return told.by if told is not None and view.incident.is_over and not view.incident.spec.resolved else ""


def left_out(view: View) -> str:
    """Return why what has not begun is left out."""
    by = who_said_over(view)
    return f"{by} said that the alert is over before this started" if by else "the alert resolved before this started"


def over_command(view: View) -> str:
    """Return the line by which a person says that the alerts listed by now are over."""
    meta = view.incident.metadata
    return approval.command(meta.namespace, meta.name, Verb.OVER, str(len(view.incident.spec.alerts)))


def acknowledge_command(view: View) -> str:
    """Return the line by which a person says that they are on it; each minute another value, so that it can be said again."""
    meta = view.incident.metadata
    return approval.command(meta.namespace, meta.name, Verb.ACKNOWLEDGE, "30m/$(date -u +%H:%M)")


def _acknowledgement(view: View, found: Answer) -> Acknowledgement | None:
    read = _LASTS.fullmatch(found.token)
    lasts = delta(read["time"]) if read else delta("0s")
    if not delta("0s") < lasts <= LONGEST:
        return None
    return Acknowledgement(
        token=found.token,
        by=found.by,
        at=view.now.replace(microsecond=0),
        until=status.later(view.now, lasts.total_seconds()),
    )


def _recorded(view: View, found: Answer) -> IncidentStatus:
    alerts, at = int(found.token), view.now.replace(microsecond=0)
    said = view.status.model_copy(update={"over": Over(by=found.by, at=at, alerts=alerts)})
    return status.handled(said, Verb.OVER.value, found.token, found.by, view.now)


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
    return not (unwinds and name.startswith(UNDO_PREFIX))


def _leave_out(view: View, names: list[str]) -> IncidentStatus:
    why = left_out(view)
    current = approval.withdraw(view.status, why, view.now)
    current = approval.end_active(current, ApprovalState.VOIDED, why)
    current = status.go_on(current) if current.phase is Phase.NEEDS_HUMAN else current
    return status.skip(current, names, reasons.ALERT_RESOLVED, why)
