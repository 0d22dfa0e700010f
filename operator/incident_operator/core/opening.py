"""The first rungs: is there anything to do at all, and with which Runbook and parameters."""

from datetime import datetime

from incident_operator.api.incident import CLOSED_PHASES, Incident, IncidentStatus, Phase, StepRecord
from incident_operator.api.runbook import Stage
from incident_operator.core import facts, parameters, reasons, status
from incident_operator.core.compiled import Compiled
from incident_operator.core.decisions import Decision, Stop, Transition, Wait
from incident_operator.core.view import Blocked, View


def closed(view: View) -> Decision | None:
    """A closed Incident is never touched again."""
    return Stop() if view.status.phase in CLOSED_PHASES else None


def blocked(view: View) -> Decision | None:
    """Without a usable Runbook nothing is done: a human is called, and the alert may still resolve by itself."""
    if not isinstance(view.runbook, Blocked):
        return None
    if view.incident.spec.resolved:
        return Transition(_resolved_by_itself(view.status))
    wanted = status.halt(view.status, view.runbook.reason, view.runbook.message)
    return Wait(None) if _same_halt(view.status, wanted) else Transition(wanted)


def not_started(view: View) -> Decision | None:
    """The first visit pins the Runbook, resolves the parameters and lists what may happen."""
    if isinstance(view.runbook, Blocked) or view.status.runbook_revision:
        return None
    pinned = status.go_on(view.status).model_copy(update={"runbook_revision": view.runbook.revision})
    compiled = view.runbook.compiled
    found = parameters.resolve(compiled.parameters, facts.alert_variable(view.incident), view.now)
    if isinstance(found, parameters.ParameterError):
        return Transition(status.halt(pinned, reasons.PARAMETER_INVALID, found.message))
    update = {"parameters": found, "steps": _records(compiled)}
    return Transition(pinned.model_copy(update=update))


def detected_at(incident: Incident, now: datetime) -> datetime:
    """Return when the Incident was detected: when it was created."""
    return incident.metadata.creation_timestamp or now


def _records(compiled: Compiled) -> list[StepRecord]:
    return [
        StepRecord(name=step.step.name, stage=step.stage, action=step.action, effect=step.effect.value)
        for stage in Stage
        for step in compiled.stage(stage)
    ]


def _resolved_by_itself(current: IncidentStatus) -> IncidentStatus:
    message = "The alert resolved by itself; nothing was done."
    return status.halt(current, reasons.RESOLVED, message, phase=Phase.RESOLVED)


def _same_halt(current: IncidentStatus, wanted: IncidentStatus) -> bool:
    return (current.phase, current.reason, current.message) == (wanted.phase, wanted.reason, wanted.message)
