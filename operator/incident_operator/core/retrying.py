"""Another try after a stop: what is asked of the person, and what is put back for it."""

from incident_operator.api.annotations import Verb
from incident_operator.api.incident import AnswerVerb, IncidentStatus, PendingAnswer, StepRecord, StepState, UndoState
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, keys, status
from incident_operator.core.view import View, is_undo


def retry_question(view: View, current: IncidentStatus, name: str) -> PendingAnswer:
    """Return the question whose answer tries a step again, with the command to paste."""
    meta = view.incident.metadata
    record = status.find(current, name)
    if record is None:
        raise ValueError(f"no record of step {name}")
    # the number of answers so far makes the token new although no attempt was begun in between
    token = f"{status.token(record)}.{len(current.answers)}"
    commands = [approval.command(meta.namespace, meta.name, Verb.RETRY, token)]
    return PendingAnswer(token=token, verbs=[AnswerVerb.RETRY], step=name, answer_with=commands)


def reset_for_retry(current: IncidentStatus, name: str) -> IncidentStatus:
    """Put back the step itself, all that follows it in its stage, every read, and mitigations undone meanwhile."""
    asked = status.find(current, name)
    if asked is None:
        return current
    back = status.reset(current, [record.name for record in current.steps if _goes_back(asked, record)])
    return _undo_due_again(back, asked) if is_undo(asked) else back


def _undo_due_again(current: IncidentStatus, undo: StepRecord) -> IncidentStatus:
    step = undo.name.removeprefix(keys.UNDO_PREFIX)
    return status.update(current, step, state=StepState.SUCCEEDED, undo=UndoState.PENDING)


def _goes_back(asked: StepRecord, record: StepRecord) -> bool:
    if record.name == asked.name:
        return True
    if record.stage in {Stage.DIAGNOSE, Stage.VERIFY}:
        return True
    if is_undo(record):
        return False
    if record.stage is Stage.MITIGATE and record.state is StepState.UNDONE:
        return asked.stage in {Stage.MITIGATE, Stage.REMEDIATE, Stage.VERIFY}
    return record.stage is asked.stage and record.state in {StepState.FAILED, StepState.REJECTED}
