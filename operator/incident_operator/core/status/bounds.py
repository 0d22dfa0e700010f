"""Keeps the status of a large Incident small enough to be stored: what nobody decides by is cut first."""

from collections.abc import Callable

from incident_operator.api.approvals import ApprovalState
from incident_operator.api.incident import IncidentStatus
from incident_operator.core import texts

MAX_BYTES = 256 * 1024
"""What the status may take as JSON: a plan of `plan.MAX_PLAN_BYTES`, `limits.ALL_OUTPUTS`, and as much for all else. etcd takes
1.5 MiB for the whole object, people read far less."""
_SHORT = 80


def fitting(current: IncidentStatus) -> tuple[IncidentStatus, bytes]:
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
