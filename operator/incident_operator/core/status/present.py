"""What people and machines read: phase, columns, promised times and conditions, all derived from the facts in one place. Pure.

The status of a large Incident is kept small enough to be stored: what nobody decides by is cut first. It tells of the texts that are kept
beside it, where each is, and which could not be kept.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from incident_operator.api.approvals import ApprovalState
from incident_operator.api.incident import (
    CLOSED_PHASES,
    AlertStatus,
    Incident,
    IncidentStatus,
    Objective,
    ObjectiveState,
    Phase,
    StepRecord,
    StepState,
    StoredReport,
    Times,
)
from incident_operator.api.meta import delta
from incident_operator.api.runbook import Objectives, Stage
from incident_operator.core import reasons, sanitize, texts
from incident_operator.core.machine import start_and_end, status
from incident_operator.core.machine.start_and_end import detected_at
from incident_operator.core.machine.view import Blocked, View, is_undo
from incident_operator.core.outcomes import Effect
from incident_operator.core.status import conditions, messages
from incident_operator.core.status.conditions import RECORD_INCOMPLETE

MAX_BYTES = 256 * 1024
"""What the status may take as JSON: a plan of `plan.MAX_PLAN_BYTES`, `limits.ALL_OUTPUTS`, and as much for all else. etcd takes
1.5 MiB for the whole object, people read far less."""
_SHORT = 80
_MESSAGE_LIMIT = 1024
_HELPED = frozenset({StepState.SUCCEEDED, StepState.UNDONE, StepState.UNDO_FAILED})
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
    current, phase, at = view.status, _phase(view), times(view.incident, view.now)
    is_closed, record = phase in CLOSED_PHASES, current_record(view)
    objectives = current.objectives
    if not isinstance(view.runbook, Blocked):
        promised, closed = view.compiled.spec.objectives, current.phase in CLOSED_PHASES
        objectives = evaluate(promised, at, view.now, closed=closed)
    told = current.model_copy(
        update={
            "phase": phase,
            "times": at,
            "objectives": objectives,
            "step": NOTHING if is_closed or record is None else record.name,
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
    return fitting_status(worded.model_copy(update={"observed_generation": generation, "conditions": judged}))


def differs(shown: IncidentStatus, stored: IncidentStatus) -> bool:
    """Tell whether a status is worth a write: more differs than what every look at an unfinished step changes."""
    # first what is cheap to compare, and differs in most writes
    standing = [[each.phase, *((record.state, record.attempt) for record in each.steps)] for each in (shown, stored)]
    return standing[0] != standing[1] or significant(shown) != significant(stored)


def significant(current: IncidentStatus) -> bytes:
    """Return what is worth a write: everything but what every look at an unfinished step changes."""
    steps = []
    for record in current.steps:
        volatile: dict[str, object] = {"polled_at": None, "not_before": None}
        if record.state is StepState.RUNNING:
            volatile |= {"summary": "", "reason": ""}
        steps.append(record.model_copy(update=volatile))
    lean = {
        "steps": steps,
        "observed_generation": None,
        "conditions": conditions.observed(current.conditions, None),
    }
    return current.model_copy(update=lean).to_bytes()


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
    return start_and_end.next_record(view)


def _phase(view: View) -> Phase:
    if view.status.phase in CLOSED_PHASES or view.status.phase is Phase.NEEDS_HUMAN:
        return view.status.phase
    if view.status.pending_approval is not None:
        return Phase.AWAITING_APPROVAL
    record = current_record(view)
    if record is None:
        return Phase.VERIFYING if view.status.runbook_revision else Phase.PENDING
    return Phase.RESTORING if is_undo(record) else _PHASE_OF[record.stage]


def times(incident: Incident, now: datetime) -> Times:
    """Return the moments that matter, as far as they are known."""
    known = incident.status.times
    records = [record for record in incident.status.steps if record.stage is Stage.MITIGATE]
    mitigated = known.mitigated
    if mitigated is None and all(record.state in {*_HELPED, StepState.SKIPPED} for record in records):
        # once every mitigation is in place, or was not needed, and one of them changed something
        acted = any(record.state in _HELPED and record.effect != Effect.READ for record in records)
        finished = [record.finished_at for record in records if record.state in _HELPED and record.finished_at]
        mitigated = max(finished, default=None) if acted else None
    told = {"detected": detected_at(incident, now), "mitigated": mitigated or known.resolved}
    return known.model_copy(update=told)


def evaluate(promised: Objectives, at: Times, now: datetime, *, closed: bool = False) -> list[Objective]:
    """Return each promised time with its state; in a closed Incident none is open."""
    if at.detected is None:
        return []
    wanted = (
        ("acknowledge", promised.acknowledge, at.acknowledged),
        ("mitigate", promised.mitigate, at.mitigated),
        ("resolve", promised.resolve, at.resolved),
    )
    objectives = []
    for name, within, when in wanted:
        if within is None:
            continue
        deadline, reached = at.detected + delta(within), when or at.resolved
        if reached is not None:
            state = ObjectiveState.MET if reached <= deadline else ObjectiveState.MISSED
        else:
            state = ObjectiveState.PENDING if not closed and now < deadline else ObjectiveState.MISSED
        objectives.append(Objective.model_validate({"name": name, "deadline": deadline, "state": state}))
    return objectives


def next_deadline(objectives: list[Objective]) -> datetime | None:
    """Return the next promised time that is still open."""
    return min((o.deadline for o in objectives if o.state is ObjectiveState.PENDING), default=None)


def fitting_status(current: IncidentStatus) -> tuple[IncidentStatus, bytes]:
    """Return the status, without ended plans and with short summaries where it would be too large otherwise; and as JSON."""
    text = current.to_bytes()
    for cut in _CUTS:
        if len(text) <= MAX_BYTES:
            break
        current = cut(current)
        text = current.to_bytes()
    return current, text


def _without_ended_plans(current: IncidentStatus) -> IncidentStatus:
    kept = [
        record if record.state is ApprovalState.ACTIVE else record.model_copy(update={"plan": []})
        for record in current.approvals
    ]
    return current.model_copy(update={"approvals": kept})


def _with_short_summaries(current: IncidentStatus) -> IncidentStatus:
    steps = [record.model_copy(update={"summary": texts.cut(record.summary, _SHORT)}) for record in current.steps]
    return current.model_copy(update={"steps": steps})


_CUTS: tuple[Callable[[IncidentStatus], IncidentStatus], ...] = (_without_ended_plans, _with_short_summaries)


def with_places(current: IncidentStatus, places: Mapping[str, str], problem: str, now: datetime) -> IncidentStatus:
    """Return the status with the ConfigMap of each step's result; `problem` says why there are others without one."""
    steps = [
        record.model_copy(update={"evidence_in": places[record.name]}) if record.name in places else record
        for record in current.steps
    ]
    told = current.model_copy(update={"steps": steps})
    missing = [record.name for record in steps if record.evidence and not record.evidence_in]
    if problem and missing:
        return _incomplete(told, f"The full result of {', '.join(missing)} is not kept: {problem}", now)
    if not missing:
        return told.model_copy(update={"conditions": conditions.drop(told.conditions, RECORD_INCOMPLETE)})
    return told


def with_report(current: IncidentStatus, report: StoredReport | None, problem: str, now: datetime) -> IncidentStatus:
    """Return the status with where its report is; `problem` says why it is not kept."""
    told = current.model_copy(update={"report": report})
    if not problem:
        return told
    known = conditions.find(told.conditions, RECORD_INCOMPLETE)
    before = f"{known.message}; " if known is not None else ""
    return _incomplete(told, f"{before}the report is not kept: {problem}", now)


def _incomplete(current: IncidentStatus, message: str, now: datetime) -> IncidentStatus:
    text = sanitize.text(message, _MESSAGE_LIMIT)
    told = conditions.condition(
        RECORD_INCOMPLETE, True, reasons.NOT_KEPT, text, now.replace(microsecond=0), current.conditions
    )
    return current.model_copy(update={"conditions": conditions.mark(current.conditions, told)})
