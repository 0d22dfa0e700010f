"""What people and machines read: phase, columns and conditions, all derived from the facts in one place."""

from incident_operator.api.incident import (
    CLOSED_PHASES,
    AlertStatus,
    IncidentStatus,
    Objective,
    Phase,
    StepRecord,
    StepState,
    Times,
)
from incident_operator.api.runbook import Stage
from incident_operator.core import sanitize
from incident_operator.core.effects import Effect
from incident_operator.core.machine import finish, status
from incident_operator.core.machine.view import Blocked, View, is_undo
from incident_operator.core.status import bounds, conditions, messages, objectives

NOTHING = "-"
_WAITING_FOR_LIMIT = 128
_PHASE_OF = {
    Stage.DIAGNOSE: Phase.DIAGNOSING,
    Stage.MITIGATE: Phase.MITIGATING,
    Stage.REMEDIATE: Phase.REMEDIATING,
    Stage.VERIFY: Phase.VERIFYING,
    Stage.RESTORE: Phase.RESTORING,
}


def present(view: View) -> tuple[IncidentStatus, bytes]:
    """Return the status as it is to be stored, and its JSON text: the same facts, told for people and machines."""
    current = view.status
    phase = _phase(view)
    at = objectives.times(view.incident, view.now)
    told = current.model_copy(
        update={
            "phase": phase,
            "times": at,
            "objectives": _objectives(view, at),
            "step": _step_name(view, phase),
            "alerts": alert_counts(view),
            "mitigated_after": messages.elapsed(at.detected, at.mitigated),
        }
    )
    shown = view.with_status(told)
    reason, message = messages.told(shown)
    worded = told.model_copy(
        update={
            "reason": reason,
            "message": sanitize.text(message, status.MESSAGE_LIMIT),
            "waiting_for": sanitize.text(messages.waiting_for(shown), _WAITING_FOR_LIMIT),
        }
    )
    generation = view.incident.metadata.generation or None
    judged = conditions.observed(conditions.updated(view.with_status(worded)), generation)
    return bounds.fitting(worded.model_copy(update={"observed_generation": generation, "conditions": judged}))


def differs(shown: IncidentStatus, stored: IncidentStatus) -> bool:
    """Tell whether a status is worth a write: more differs than what every look at an unfinished step changes."""
    return _standing(shown) != _standing(stored) or significant(shown) != significant(stored)


def _standing(current: IncidentStatus) -> list[object]:
    """Return what is cheap to compare, and differs in most writes."""
    return [current.phase, *((record.state, record.attempt) for record in current.steps)]


def significant(current: IncidentStatus) -> bytes:
    """Return what is worth a write: everything but what every look at an unfinished step changes."""
    lean = {
        "steps": [_without_poll(record) for record in current.steps],
        "observed_generation": None,
        "conditions": conditions.observed(current.conditions, None),
    }
    return current.model_copy(update=lean).to_bytes()


def _without_poll(record: StepRecord) -> StepRecord:
    volatile: dict[str, object] = {"polled_at": None, "not_before": None}
    if record.state is StepState.RUNNING:
        volatile |= {"summary": "", "reason": ""}
    return record.model_copy(update=volatile)


def alert_counts(view: View) -> str:
    """Return how many alerts are in which state, e.g. `3 firing/1 resolved`."""
    alerts = view.incident.spec.alerts
    firing = sum(alert.status is AlertStatus.FIRING for alert in alerts)
    beyond = f" +{view.incident.spec.alerts_omitted}" if view.incident.spec.alerts_omitted else ""
    return f"{firing} firing/{len(alerts) - firing} resolved{beyond}" if alerts else "none"


def current_record(view: View) -> StepRecord | None:
    """Return the step that the Incident is at: what runs, what is asked about, or what comes next."""
    steps = view.status.steps
    running = [record for record in steps if record.state is StepState.RUNNING and record.effect != Effect.READ]
    if running:
        return running[0]
    if view.status.pending_answer is not None:
        return status.find(view.status, view.status.pending_answer.step)
    return finish.next_record(view)


def _phase(view: View) -> Phase:
    if view.status.phase in CLOSED_PHASES or view.status.phase is Phase.NEEDS_HUMAN:
        return view.status.phase
    if view.status.pending_approval is not None:
        return Phase.AWAITING_APPROVAL
    record = current_record(view)
    if record is None:
        return Phase.VERIFYING if view.status.runbook_revision else Phase.PENDING
    return Phase.RESTORING if is_undo(record) else _PHASE_OF[record.stage]


def _objectives(view: View, at: Times) -> list[Objective]:
    if isinstance(view.runbook, Blocked):
        return view.status.objectives
    closed = view.status.phase in CLOSED_PHASES
    return objectives.evaluate(view.compiled.spec.objectives, at, view.now, closed=closed)


def _step_name(view: View, phase: Phase) -> str:
    if phase in CLOSED_PHASES:
        return NOTHING
    record = current_record(view)
    return record.name if record is not None else NOTHING
