"""A status that is older than what was done, as after a restore from a backup: the act is not done again, and a person says.

Three things show it: the mark of an attempt that was never begun (an action finds it), the evidence of one (`unknown_to`), and step
keys that are those of another Incident (`of_another`), as where a status was restored under a new uid.
"""

from collections.abc import Mapping
from datetime import datetime

from incident_operator.api.approvals import ApprovalState, PendingAnswer
from incident_operator.api.incident import Incident, IncidentStatus, StepRecord, StepState
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, reasons, sanitize
from incident_operator.core.effects import Effect
from incident_operator.core.machine import keys, retrying, status
from incident_operator.core.machine.decisions import Run
from incident_operator.core.machine.view import Blocked, View

_WHY = "the status is older than what was done"


def begun(current: IncidentStatus) -> Mapping[str, int]:
    """Return the acts that a status knows of: record → its newest attempt."""
    return {each.name: each.attempt for each in current.steps if each.effect != Effect.READ and each.attempt}


def can_act(current: IncidentStatus) -> bool:
    """Tell whether there is anything in the record that could be done twice."""
    return any(each.effect != Effect.READ for each in current.steps)


def unknown_to(view: View, acts: Mapping[str, int]) -> Mapping[str, int]:
    """Return which of these acts, as they were once known, the status does not know of. What cannot be one of it is left out."""
    known = begun(view.status)
    return {name: attempt for name, attempt in acts.items() if _is_act(view, name) and attempt > known.get(name, 0)}


def by_evidence(view: View, acts: Mapping[str, tuple[int, str]]) -> IncidentStatus:
    """Return the status in which acts that only the evidence in some ConfigMap tells of are unknown, for a person to say."""
    current = view.status
    for name, (attempt, where) in acts.items():
        told = f"ConfigMap {where} has evidence of attempt {attempt}, which the status does not record"
        current = _unknown(view, current, _run(view, name, attempt), told)
    return current


def by_mark(view: View, run: Run, found: str) -> IncidentStatus:
    """Return the same for an act whose mark was found where it was about to be begun."""
    return _unknown(view, view.status, run, found)


def halted(current: IncidentStatus, record: StepRecord, question: PendingAnswer) -> IncidentStatus:
    """Stop for a person, who says whether what the status does not know of was done."""
    message = (
        f"The status of this Incident was rolled back, as a restore from a backup does. {record.name}: {record.summary.rstrip('.')}. "
        "It is not done again. Check what was done since, then answer:"
    )
    remedy = f"{question.answer_with[0]} (or {question.token}={retrying.NOT_DONE})"
    return status.halt(current, reasons.RECORD_ROLLED_BACK, message, question, remedy=remedy)


def of_another(incident: Incident) -> Blocked | None:
    """Return why nothing goes on where the status was written for another Incident: its keys would do everything once more."""
    uid = incident.metadata.uid
    foreign = [each.name for each in incident.status.steps if each.effect != Effect.READ and not _is_own(uid, each)]
    if not foreign:
        return None
    told = f"Its status was written for another Incident of this name, as a restore from a backup does: {', '.join(foreign)} started there."
    return Blocked(reasons.RECORD_ROLLED_BACK, f"{told} Nothing is done, and nothing is undone.")


def _is_own(uid: str, record: StepRecord) -> bool:
    return record.key is None or record.key == keys.step_key(uid, record.stage, record.name, record.attempt)


def _is_act(view: View, name: str) -> bool:
    """Tell whether it is an act of this Incident, or an undo that is not listed yet."""
    if (record := status.find(view.status, name)) is not None:
        return record.effect != Effect.READ
    step = view.compiled.steps.get(name.removeprefix(keys.UNDO_PREFIX))
    return name.startswith(keys.UNDO_PREFIX) and step is not None and step.undo is not None


def _run(view: View, name: str, attempt: int) -> Run:
    step = name.removeprefix(keys.UNDO_PREFIX)
    stage = Stage.RESTORE if step != name else status.known(view.status, name).stage
    key = keys.step_key(view.incident.metadata.uid, stage, name, attempt)
    return Run(name, step, stage, attempt, key, undo=step != name)


def _unknown(view: View, before: IncidentStatus, run: Run, told: str) -> IncidentStatus:
    current = _nothing_is_approved(status.go_on(before), view.now)
    return status.update(
        _listed(view, current, run),
        run.record,
        state=StepState.UNKNOWN,
        attempt=run.attempt,
        key=run.key,
        seen=None,
        reason=reasons.RECORD_ROLLED_BACK,
        summary=sanitize.text(told, status.SUMMARY_LIMIT),
        not_before=None,
    )


def _nothing_is_approved(current: IncidentStatus, now: datetime) -> IncidentStatus:
    """What was asked or approved was so upon a record that does not hold."""
    asked = current.pending_approval.steps if current.pending_approval is not None else []
    withdrawn = status.mark(approval.withdraw(current, _WHY, now), asked, StepState.PENDING)
    return approval.end_active(withdrawn, ApprovalState.VOIDED, _WHY)


def _listed(view: View, current: IncidentStatus, run: Run) -> IncidentStatus:
    """Return the status with a record of an undo of which it does not know at all."""
    undo = view.compiled.steps[run.step].undo
    if undo is None or status.find(current, run.record) is not None:
        return current
    entry = StepRecord(name=run.record, stage=run.stage, action=undo.act.key, effect=undo.act.effect.value)
    return current.model_copy(update={"steps": [*current.steps, entry]})
