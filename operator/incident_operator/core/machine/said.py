"""What people say without being asked: the alert is over, I am on it. Neither begins anything by itself."""

import re

from incident_operator.api.annotations import Verb
from incident_operator.api.approvals import Acknowledgement, Over
from incident_operator.api.incident import IncidentStatus, Silence
from incident_operator.api.meta import delta
from incident_operator.core import approval
from incident_operator.core.approval import Answer
from incident_operator.core.machine import status
from incident_operator.core.machine.decisions import Decision, Transition
from incident_operator.core.machine.view import View

_ALERTS = re.compile(r"[0-9]{1,4}", re.ASCII)
_LASTS = re.compile(r"(?P<time>[0-9]{1,2}h(?:[0-9]{1,4}m)?|[0-9]{1,4}m)(?:/[0-9A-Za-z:._-]{1,32})?", re.ASCII)
"""How long, and maybe something behind a slash that makes it another value than the one before; as in incident-approval.yaml."""
LONGEST = delta("24h")


def acknowledged(view: View) -> Decision | None:
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
