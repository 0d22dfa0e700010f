"""Which effects are taken back, when, and in which order: the newest first."""

from collections.abc import Callable

from incident_operator.api.incident import IncidentStatus, StepRecord, UndoState
from incident_operator.api.runbook import Stage, UndoOn
from incident_operator.core import reasons, texts
from incident_operator.core.machine import coverage, keys, status
from incident_operator.core.machine.decisions import Begin, Decision, Transition, Wait
from incident_operator.core.machine.retrying import undo_question
from incident_operator.core.machine.view import View, next_run

_TOLD_LIMIT = 400


def after_failure(view: View, stage: Stage) -> Decision | None:
    """Unwind before calling a human: all mitigations when one failed, those that say so when verification failed."""
    match stage:
        case Stage.MITIGATE:
            return _undo_next(view, lambda _: True)
        case Stage.VERIFY:
            return _undo_next(view, lambda on: UndoOn.FAILED in on)
        case _:
            return None


def when_resolved(view: View) -> Decision | None:
    """Take back what was temporary, now that the trouble is over."""
    return _undo_next(view, lambda on: UndoOn.RESOLVED in on)


def when_aborted(view: View) -> Decision | None:
    """Take everything temporary back, whatever its `undoOn` says: a person asked for it when they aborted."""
    return _undo_next(view, lambda _: True)


def left_in_place(current: IncidentStatus) -> list[str]:
    """Return each mitigation that stays in place, with what it did, and the command that puts that back where one is known."""
    left = [record for record in current.steps if record.undo in {UndoState.PENDING, UndoState.FAILED}]
    return [texts.cut(_left(record), _TOLD_LIMIT) for record in left]


def put_back_with(record: StepRecord) -> str:
    """Return the command by which a person puts back what a step changed; empty where its action knows none."""
    return str((record.captured or {}).get("undoWith", ""))


def _left(record: StepRecord) -> str:
    by_hand = put_back_with(record)
    parts = [record.summary.rstrip("."), f"put it back: {by_hand}" if by_hand else ""]
    told = "; ".join(filter(None, parts))
    return f"{record.name} ({told})" if told else record.name


def told(current: IncidentStatus) -> str:
    """Say which mitigations were undone and which stay in place, for the message of a stop."""
    undone = [record.name for record in current.steps if record.undo is UndoState.DONE]
    kept = [record.name for record in current.steps if record.undo is UndoState.PENDING]
    parts = [f" Undone: {', '.join(undone)}." if undone else "", f" Still in place: {', '.join(kept)}." if kept else ""]
    return texts.cut("".join(parts), _TOLD_LIMIT)


def _undo_next(view: View, applies: Callable[[list[UndoOn]], bool]) -> Decision | None:
    for record in reversed(list(view.records(Stage.MITIGATE))):
        if record.undo is UndoState.PENDING and applies(view.step(record).step.undo_on):
            return _undo(view, record)
        if record.undo is UndoState.FAILED:
            return _failed(view, record)
    return None


def _undo(view: View, record: StepRecord) -> Decision:
    undo = status.find(view.status, keys.undo_name(record.name))
    if undo is None:
        return Transition(_listed(view, record))
    if undo.state in status.FINISHED:
        return Transition(status.reset(view.status, [undo.name]))
    if (until := status.waits_until(undo, view.now)) is not None:
        return Wait(until)
    return coverage.under_approval(view, undo) if coverage.needs_approval(view, undo) else Begin(next_run(view, undo))


def _listed(view: View, record: StepRecord) -> IncidentStatus:
    undo = view.step(record).undo
    if undo is None:
        return status.update(view.status, record.name, undo=None)
    entry = StepRecord(
        name=keys.undo_name(record.name), stage=Stage.RESTORE, action=undo.act.key, effect=undo.act.effect.value
    )
    return view.status.model_copy(update={"steps": [*view.status.steps, entry]})


def _failed(view: View, record: StepRecord) -> Decision:
    undo = status.find(view.status, keys.undo_name(record.name))
    why = undo.summary if undo is not None else "it could not be rendered"
    question = undo_question(view, view.status, keys.undo_name(record.name))
    again, by_hand = question.answer_with
    message = f"The undo of {record.name} failed: {why.rstrip('.')}. What {record.name} changed is still in place."
    remedy = f"Retry: {again} Or fix it by hand, then answer: {by_hand}"
    return Transition(status.halt(view.status, reasons.RESTORE_FAILED, message, question, remedy=remedy))
