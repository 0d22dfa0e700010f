"""Another try after a stop: what is asked of the person, and what is put back for it."""

import itertools

from incident_operator.api.annotations import Verb
from incident_operator.api.approvals import AnswerVerb, PendingAnswer
from incident_operator.api.incident import IncidentStatus, StepRecord, StepState, UndoState
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, reasons
from incident_operator.core.effects import Effect
from incident_operator.core.machine import keys, status
from incident_operator.core.machine.view import View, is_undo

DONE, NOT_DONE = "done", "not-done"
"""What a person says of an effect whose fate nobody else knows: `<token>=done`."""


def retry_question(view: View, current: IncidentStatus, name: str) -> PendingAnswer:
    """Return the question whose answer tries a step again, with the command to paste."""
    record = _record(current, name)
    token = _fresh_token(current, record)
    return status.question(record, token, [AnswerVerb.RETRY], [_command(view, Verb.RETRY, token)])


def undo_question(view: View, current: IncidentStatus, name: str) -> PendingAnswer:
    """Return the question about an undo that failed: try it again, or hear that a person has put it right by hand."""
    record = _record(current, name)
    token = _fresh_token(current, record)
    commands = [_command(view, Verb.RETRY, token), _command(view, Verb.RESOLVE, f"{token}={DONE}")]
    return status.question(record, token, [AnswerVerb.RETRY, AnswerVerb.RESOLVE], commands)


def unknown_question(view: View, record: StepRecord) -> PendingAnswer:
    """Return the question whether an effect happened; its token names the attempt, so that an answer counts once."""
    token = status.token(record)
    commands = [_command(view, Verb.RESOLVE, f"{token}={said}") for said in (DONE, NOT_DONE)]
    return status.question(record, token, [AnswerVerb.RESOLVE], commands)


def reset_for_retry(current: IncidentStatus, name: str) -> IncidentStatus:
    """Put back a step for another try, and with it what has to be looked at or done afresh.

    These are every read, every step that was not needed then, mitigations that were undone meanwhile, and what failed
    or was rejected with the step or after it in its stage. What had an effect that still holds is never put back,
    but for the step that the person names. An undo goes back alone.
    """
    asked = status.find(current, name)
    if asked is None:
        return current
    if is_undo(asked):
        return _undo_due_again(status.reset(current, [name]), asked)
    after = {record.name for record in current.steps[current.steps.index(asked) :]}
    back = [record.name for record in current.steps if _goes_back(asked, record, record.name in after)]
    return status.reset(current, back)


def _goes_back(asked: StepRecord, record: StepRecord, after: bool) -> bool:
    if record.name == asked.name or record.effect == Effect.READ:
        return True
    if is_undo(record):
        return False
    if after and record.stage is asked.stage and record.state in {StepState.FAILED, StepState.REJECTED}:
        return True
    if asked.stage is Stage.RESTORE:
        return False
    not_needed = record.state is StepState.SKIPPED and record.reason == reasons.CONDITION_FALSE
    return not_needed or (record.stage is Stage.MITIGATE and record.state is StepState.UNDONE)


def _undo_due_again(current: IncidentStatus, undo: StepRecord) -> IncidentStatus:
    step = undo.name.removeprefix(keys.UNDO_PREFIX)
    return status.record_undo(current, step, StepState.SUCCEEDED, UndoState.PENDING)


def _fresh_token(current: IncidentStatus, record: StepRecord) -> str:
    """Return a token that no answer has named, although no attempt may have been begun since the last one."""
    used = {answer.token.partition("=")[0] for answer in current.answers}
    numbers = itertools.count(len(current.answers))
    return next(token for number in numbers if (token := f"{status.token(record)}.{number}") not in used)


def _record(current: IncidentStatus, name: str) -> StepRecord:
    record = status.find(current, name)
    if record is None:
        raise ValueError(f"no record of step {name}")
    return record


def _command(view: View, verb: Verb, token: str) -> str:
    meta = view.incident.metadata
    return approval.command(meta.namespace, meta.name, verb, token)
