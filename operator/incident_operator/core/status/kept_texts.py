"""What a status tells of the texts that are kept beside it: where each is, and which could not be kept. Pure."""

from collections.abc import Mapping
from datetime import datetime

from incident_operator.api.incident import IncidentStatus, StepRecord, StoredReport
from incident_operator.core import reasons, sanitize
from incident_operator.core.status import conditions
from incident_operator.core.status.conditions import RECORD_INCOMPLETE

_MESSAGE_LIMIT = 1024


def with_places(current: IncidentStatus, places: Mapping[str, str], problem: str, now: datetime) -> IncidentStatus:
    """Return the status with the ConfigMap of each step's result; `problem` says why there are others without one."""
    steps = [_in_place(record, places) for record in current.steps]
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


def _in_place(record: StepRecord, places: Mapping[str, str]) -> StepRecord:
    place = places.get(record.name)
    return record if place is None else record.model_copy(update={"evidence_in": place})


def _incomplete(current: IncidentStatus, message: str, now: datetime) -> IncidentStatus:
    text = sanitize.text(message, _MESSAGE_LIMIT)
    told = conditions.condition(
        RECORD_INCOMPLETE, True, reasons.NOT_KEPT, text, now.replace(microsecond=0), current.conditions
    )
    return current.model_copy(update={"conditions": conditions.mark(current.conditions, told)})
