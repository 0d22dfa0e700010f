"""What holds for every status and every decision, whatever happened before."""

from incident_operator.api.approvals import ApprovalState
from incident_operator.api.incident import CLOSED_PHASES, IncidentStatus, Phase, StepRecord, StepState, UndoState, Verb
from incident_operator.api.runbook import Stage
from incident_operator.core import approval
from incident_operator.core.machine import status, undoing
from incident_operator.core.machine.view import Begin, Decision, Look, View, Wait, is_undo
from incident_operator.core.outcomes import Effect
from incident_operator.core.status.present import MAX_BYTES

REQUIRED_CONDITIONS = {"Diagnosed", "Mitigated", "Approved", "Remediated", "Verified", "Succeeded"}
ABNORMAL_CONDITIONS = {"Stalled", "AlertsTruncated", "RecordIncomplete", "Acknowledged", "AlertSilenced"}


def check_facts(current: IncidentStatus) -> None:
    """Check what must hold of the facts at any moment, stored or not."""
    running = [r for r in current.steps if r.state is StepState.RUNNING and r.effect != Effect.READ]
    assert len(running) <= 1, "one effect at a time"
    assert all(record.key for record in running), "an effect under way has a key"
    names = [record.name for record in current.steps]
    assert len(names) == len(set(names))
    _check_approvals(current)
    _check_undos(current)
    if current.pending_answer is not None:
        assert current.phase is Phase.NEEDS_HUMAN
        assert status.find(current, current.pending_answer.step) is not None


def _check_approvals(current: IncidentStatus) -> None:
    active = [record for record in current.approvals if record.state is ApprovalState.ACTIVE]
    assert len(active) <= 1, "one approval is used at a time"
    assert not active or active[0] is current.approvals[-1]
    waiting = [record.name for record in current.steps if record.state is StepState.AWAITING_APPROVAL]
    pending = current.pending_approval
    assert waiting == (pending.steps if pending is not None else []), "what waits for approval is asked for"
    assert pending is None or current.phase is not Phase.NEEDS_HUMAN


def _check_undos(current: IncidentStatus) -> None:
    for record in current.steps:
        assert record.undo is None or record.stage is Stage.MITIGATE, "only mitigations are temporary"
        if record.state is StepState.UNDONE:
            assert record.undo is UndoState.DONE
        if record.state is StepState.UNDO_FAILED:
            assert record.undo is UndoState.FAILED


def check_shown(shown: IncidentStatus, stored: IncidentStatus) -> None:
    """Check a status as it is told to people and machines, and as it reads back."""
    assert stored.to_json() == shown.to_json(), "what is stored reads back the same"
    conditions = {condition.type: condition for condition in shown.conditions}
    assert set(conditions) >= REQUIRED_CONDITIONS
    assert set(conditions) <= REQUIRED_CONDITIONS | ABNORMAL_CONDITIONS
    assert all(condition.reason.isalnum() for condition in shown.conditions)
    assert ("Stalled" in conditions) == (shown.phase is Phase.NEEDS_HUMAN)
    assert shown.waiting_for
    assert shown.message
    assert "\n" not in shown.message
    assert len(shown.to_bytes()) <= MAX_BYTES
    if shown.phase is Phase.NEEDS_HUMAN:
        assert shown.reason
        assert "kubectl annotate" in shown.message, shown.message
    if shown.phase is Phase.RESOLVED:
        assert shown.times.resolved is not None
    if shown.phase in CLOSED_PHASES:
        assert all(objective.state.value != "Pending" for objective in shown.objectives)


def check_decision(view: View, decision: Decision) -> None:
    """Check that a decision may be carried out."""
    match decision:
        case Wait(None):
            assert view.status.phase is Phase.NEEDS_HUMAN, "only a person is waited for without a moment"
        case Wait(until):
            assert until is not None
            assert until > view.now, "a wait ends in the future"
        case Begin() as begin:
            _check_begin(view, begin)
        case Look(run):
            record = status.find(view.status, run.record)
            assert record is not None
            assert record.key == run.key, "an effect is looked for under the key of its intent"
            effect = Effect(record.effect)
            assert effect.is_known, "an unkeyed effect leaves nothing to look for"
            assert effect is not Effect.KEYED_CALL, "a keyed call cannot be looked up"
        case _:
            pass


def _check_begin(view: View, begin: Begin) -> None:
    record = status.find(view.status, begin.run.record)
    assert record is not None
    if begin.again:
        assert record.state is StepState.RUNNING, "only what has begun is sent again"
        assert record.effect == Effect.KEYED_CALL, "only what the service does once is sent again"
        assert record.key == begin.run.key, "it is sent again under its own key"
    else:
        assert record.state is StepState.PENDING, "only what has not begun is begun"
        assert begin.run.attempt == record.attempt + 1, "a new attempt has a new key"
    undoes = is_undo(record) and status.abort_undoes(view.status)
    assert undoes or status.aborted_by(view.status) is None, "nothing begins after abort"
    assert view.status.phase not in {*CLOSED_PHASES, Phase.NEEDS_HUMAN}
    assert view.status.pending_approval is None
    assert undoes or approval.answer(view.incident.metadata.annotations, Verb.ABORT) is None, (
        "nothing begins after abort"
    )
    if view.incident.is_over and not is_undo(record):
        assert record.stage is Stage.RESTORE, "nothing but restoring begins once the alert has resolved"
    if not undoing.needs_approval(view, record):
        return
    used = approval.active(view.status)
    assert used is not None, "a destructive step needs an approval"
    assert used.expires_at is not None
    assert view.now < used.expires_at, "an approval that has expired covers nothing"
    assert used.by
    assert begin.approved is not None
    assert begin.approved == approval.entry_for(used, record.name)


def check_change(before: IncidentStatus, after: IncidentStatus) -> None:
    """Check what one step of the machine may change."""
    assert len(after.approvals) >= min(len(before.approvals), 20)
    known = {record.name: record for record in after.steps}
    for record in before.steps:
        _check_record(record, known[record.name])


def _check_record(before: StepRecord, after: StepRecord) -> None:
    assert after.attempt in {before.attempt, before.attempt + 1}
    if before.effect == Effect.READ or before.state is not StepState.SUCCEEDED:
        return
    allowed = {StepState.SUCCEEDED, StepState.UNDONE, StepState.UNDO_FAILED}
    if not is_undo(before):
        assert after.state in allowed, "what had an effect is not repeated unless it was undone"
