"""Effects between intent and outcome: look again under the same key, or admit that nobody can tell."""

from datetime import timedelta

from incident_operator.api.approvals import PlanEntry
from incident_operator.api.incident import IncidentStatus, StepRecord, StepState
from incident_operator.api.meta import rfc3339
from incident_operator.core import reasons
from incident_operator.core.effects import Effect
from incident_operator.core.machine import limits, retrying, status
from incident_operator.core.machine.decisions import Ask, Begin, Decision, Probe, Read, Resume, Transition, Wait
from incident_operator.core.machine.view import View, is_undo, next_run


def effect_under_way(view: View) -> Decision | None:
    """An effect whose intent is stored is finished, one way or the other, before anything else happens."""
    for record in view.status.steps:
        if record.state is StepState.RUNNING and record.effect != Effect.READ:
            return _look(view, record)
    return None


def effect_unknown(view: View) -> Decision | None:
    """An effect that may or may not have happened stops the Incident until a person has said."""
    if view.status.pending_answer is not None:
        return None
    unknown = next((record for record in view.status.steps if record.state is StepState.UNKNOWN), None)
    return None if unknown is None else Transition(_halt_unknown(view, unknown))


def to_be_recorded(stored: IncidentStatus, view: View, decision: Decision) -> bool:
    """Tell whether the outcome of an unkeyed effect is in memory only, and something that takes time comes before a write.

    Nothing in the world can tell that outcome again, so it does not wait there for what is read, or rendered, next.
    """
    match decision:
        case Read() | Ask() | Probe() | Resume() | Begin(approved=PlanEntry()):
            return any(_only_in_memory(record, status.find(stored, record.name)) for record in view.status.steps)
        case _:
            return False


def _only_in_memory(record: StepRecord, stored: StepRecord | None) -> bool:
    if stored is None or stored.effect != Effect.UNKEYED or stored.state is not StepState.RUNNING:
        return False
    return record.state is not StepState.RUNNING


def _look(view: View, record: StepRecord) -> Decision:
    if record.not_before is not None and view.now < record.not_before:
        return Wait(record.not_before)
    run = next_run(view, record)
    if Effect(record.effect).replayable:
        return Resume(run)
    if (left := _perhaps_under_way(view, record)) > timedelta():
        return Wait(view.now + left)
    if view.step(record).probe is not None and not is_undo(record):
        return Probe(run)
    since = rfc3339(record.started_at) if record.started_at else "an unknown time"
    summary = f"may or may not have run (begun at {since}, the operator stopped before its outcome was known)"
    changed = status.update(
        view.status, record.name, state=StepState.UNKNOWN, reason=reasons.INTERRUPTED, summary=summary
    )
    return Transition(changed)


def _perhaps_under_way(view: View, record: StepRecord) -> timedelta:
    """How long the process that led before may still be in the middle of it; its clock is not ours, so it is not asked."""
    step = view.step(record)
    action = step.undo.action if is_undo(record) and step.undo is not None else step.action
    return max(timedelta(), limits.timeout(step, action) + limits.HANDED_OVER - view.led_for)


def _halt_unknown(view: View, record: StepRecord) -> IncidentStatus:
    question = retrying.unknown_question(view, record)
    message = (
        f"{record.action} {record.name} {record.summary}; it is never repeated by itself. "
        "Look whether it happened, then tell:"
    )
    remedy = f"{question.answer_with[0]} (or {question.token}={retrying.NOT_DONE})"
    return status.halt(view.status, reasons.STEP_UNKNOWN, message, question, remedy=remedy)
