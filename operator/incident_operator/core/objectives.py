"""Promised times: when they end, and whether they were kept."""

from datetime import datetime

from incident_operator.api.incident import Incident, Objective, ObjectiveState, StepState, Times
from incident_operator.api.meta import delta
from incident_operator.api.runbook import Objectives, Stage
from incident_operator.core.opening import detected_at

_HELPED = frozenset({StepState.SUCCEEDED, StepState.UNDONE, StepState.UNDO_FAILED})


def times(incident: Incident, now: datetime) -> Times:
    """Return the moments that matter, as far as they are known."""
    known = incident.status.times
    mitigated = known.mitigated or _mitigated_at(incident) or known.resolved
    return known.model_copy(update={"detected": detected_at(incident, now), "mitigated": mitigated})


def evaluate(promised: Objectives, at: Times, now: datetime) -> list[Objective]:
    """Return each promised time with its state."""
    if at.detected is None:
        return []
    wanted = (
        ("acknowledge", promised.acknowledge, at.acknowledged),
        ("mitigate", promised.mitigate, at.mitigated),
        ("resolve", promised.resolve, at.resolved),
    )
    return [
        _objective(name, at.detected + delta(within), reached, now, at.resolved)
        for name, within, reached in wanted
        if within is not None
    ]


def next_deadline(objectives: list[Objective]) -> datetime | None:
    """Return the next promised time that is still open."""
    return min((o.deadline for o in objectives if o.state is ObjectiveState.PENDING), default=None)


def _objective(
    name: str, deadline: datetime, reached: datetime | None, now: datetime, over: datetime | None
) -> Objective:
    moment = reached or over
    if moment is not None:
        state = ObjectiveState.MET if moment <= deadline else ObjectiveState.MISSED
        return Objective.model_validate({"name": name, "deadline": deadline, "state": state})
    state = ObjectiveState.PENDING if now < deadline else ObjectiveState.MISSED
    return Objective.model_validate({"name": name, "deadline": deadline, "state": state})


def _mitigated_at(incident: Incident) -> datetime | None:
    records = [record for record in incident.status.steps if record.stage is Stage.MITIGATE]
    unfinished = any(record.finished_at is None and record.state is not StepState.SKIPPED for record in records)
    helped = [record.finished_at for record in records if record.state in _HELPED and record.finished_at]
    return max(helped) if helped and not unfinished else None
