"""Promised times: when they end, and whether they were kept."""

from datetime import datetime

from incident_operator.api.incident import Incident, Objective, ObjectiveState, StepState, Times
from incident_operator.api.meta import delta
from incident_operator.api.runbook import Objectives, Stage
from incident_operator.core.effects import Effect
from incident_operator.core.machine.start import detected_at

_HELPED = frozenset({StepState.SUCCEEDED, StepState.UNDONE, StepState.UNDO_FAILED})


def times(incident: Incident, now: datetime) -> Times:
    """Return the moments that matter, as far as they are known."""
    known = incident.status.times
    mitigated = known.mitigated or _mitigated_at(incident) or known.resolved
    return known.model_copy(update={"detected": detected_at(incident, now), "mitigated": mitigated})


def evaluate(promised: Objectives, at: Times, now: datetime, *, closed: bool = False) -> list[Objective]:
    """Return each promised time with its state; in a closed Incident none is open."""
    if at.detected is None:
        return []
    wanted = (
        ("acknowledge", promised.acknowledge, at.acknowledged),
        ("mitigate", promised.mitigate, at.mitigated),
        ("resolve", promised.resolve, at.resolved),
    )
    return [
        _objective(name, at.detected + delta(within), reached or at.resolved, None if closed else now)
        for name, within, reached in wanted
        if within is not None
    ]


def next_deadline(objectives: list[Objective]) -> datetime | None:
    """Return the next promised time that is still open."""
    return min((o.deadline for o in objectives if o.state is ObjectiveState.PENDING), default=None)


def _objective(name: str, deadline: datetime, reached: datetime | None, now: datetime | None) -> Objective:
    return Objective.model_validate({"name": name, "deadline": deadline, "state": _state(deadline, reached, now)})


def _state(deadline: datetime, reached: datetime | None, now: datetime | None) -> ObjectiveState:
    if reached is not None:
        return ObjectiveState.MET if reached <= deadline else ObjectiveState.MISSED
    return ObjectiveState.PENDING if now is not None and now < deadline else ObjectiveState.MISSED


def _mitigated_at(incident: Incident) -> datetime | None:
    records = [record for record in incident.status.steps if record.stage is Stage.MITIGATE]
    if any(record.state not in {*_HELPED, StepState.SKIPPED} for record in records):
        return None
    acted = any(record.state in _HELPED and record.effect != Effect.READ for record in records)
    finished = [record.finished_at for record in records if record.state in _HELPED and record.finished_at]
    return max(finished, default=None) if acted else None
