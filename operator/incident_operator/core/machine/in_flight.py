"""Effects between intent and outcome: find out what became of them, and admit it where nobody can tell. Nothing is begun here."""

from collections.abc import Callable
from datetime import timedelta

from incident_operator.api.incident import IncidentStatus, StepRecord, StepState
from incident_operator.api.meta import rfc3339
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, reasons, sanitize
from incident_operator.core.effects import Effect
from incident_operator.core.machine import coverage, limits, retrying, rolled_back, status
from incident_operator.core.machine.decisions import Ask, Begin, Decision, Look, Probe, Read, Run, Transition, Wait
from incident_operator.core.machine.view import View, is_undo, next_run

_ACTING = frozenset({Stage.MITIGATE, Stage.REMEDIATE})


def running(current: IncidentStatus) -> StepRecord | None:
    """Return the effect whose intent is stored and whose outcome is not known; there is one at most."""
    return next((r for r in current.steps if r.state is StepState.RUNNING and r.effect != Effect.READ), None)


def effect_under_way(view: View) -> Decision | None:
    """An effect whose intent is stored is followed to its end, one way or the other, before anything else happens."""
    record = running(view.status)
    return None if record is None else _followed(view, record)


def effect_unknown(view: View, matters: Callable[[StepRecord], bool] = lambda _: True) -> Decision | None:
    """An effect that may or may not have happened stops the Incident until a person has said."""
    if view.status.pending_answer is not None:
        return None
    unknown = next(
        (record for record in view.status.steps if record.state is StepState.UNKNOWN and matters(record)), None
    )
    return None if unknown is None else Transition(_halt_unknown(view, unknown))


def to_be_recorded(stored: IncidentStatus, view: View, decision: Decision) -> bool:
    """Tell whether the outcome of an unkeyed effect is in memory only, and something that takes time comes before a write.

    Nothing in the world can tell that outcome again, so it does not wait there for what is read, or rendered, next.
    """
    match decision:
        case Read() | Ask() | Probe() | Look() | Begin():
            return any(_only_in_memory(record, stored) for record in view.status.steps)
        case _:
            return False


def _only_in_memory(record: StepRecord, stored: IncidentStatus) -> bool:
    if record.effect != Effect.UNKEYED or record.state is StepState.RUNNING:
        return False
    before = status.find(stored, record.name)
    return before is not None and before.state is StepState.RUNNING


def _followed(view: View, record: StepRecord) -> Decision:
    run, effect = next_run(view, record), Effect(record.effect)
    # what may not be asked for again is not waited for either
    if effect is Effect.KEYED_CALL and (why := _may_not_ask_again(view, record)):
        return Transition(_unknown(view, record, f"may or may not have run; it is not sent again: {why}"))
    if (until := status.waits_until(record, view.now)) is not None:
        return Wait(until)
    if effect is Effect.KEYED_CALL:
        return _asked_again(view, record, run)
    if effect.is_known:
        return Look(run)
    if (left := _perhaps_under_way(view, record)) > timedelta():
        return Wait(view.now + left)
    if view.step(record).probe is not None and not is_undo(record):
        return Probe(run)
    since = rfc3339(record.started_at) if record.started_at else "an unknown time"
    told = f"may or may not have run (started at {since}; the operator stopped before the outcome was known)"
    return Transition(_unknown(view, record, told))


def _asked_again(view: View, record: StepRecord, run: Run) -> Decision:
    """A keyed call cannot be looked up: it is sent again under its key, as long as all that guards a first try holds."""
    used = approval.active(view.status)
    return Begin(run, approved=approval.entry_for(used, record.name) if used else None, again=True)


def _may_not_ask_again(view: View, record: StepRecord) -> str:
    """Return which guard of a first begin does not hold any more; empty where all do."""
    by = status.aborted_by(view.status)
    if by is not None and not (is_undo(record) and status.abort_undoes(view.status)):
        return f"aborted by {by}"
    if view.incident.is_over and record.stage in _ACTING:
        return "the alert has resolved"
    if not coverage.needs_approval(view, record):
        return ""
    used = approval.active(view.status)
    if used is None:
        return "its approval has ended"
    if approval.entry_for(used, record.name) is None:
        return "it is not part of what is approved now"
    outlived = coverage.is_outlived(view.status, view.now)
    return "its approval has ended: it was given too long ago" if outlived else ""


def _unknown(view: View, record: StepRecord, told: str) -> IncidentStatus:
    summary = sanitize.text(told, status.SUMMARY_LIMIT)
    return status.update(
        view.status, record.name, state=StepState.UNKNOWN, reason=reasons.INTERRUPTED, summary=summary, not_before=None
    )


def _perhaps_under_way(view: View, record: StepRecord) -> timedelta:
    """How long the process that led before may still be in the middle of it; its clock is not ours, so it is not asked."""
    step = view.step(record)
    action = step.undo.act.key if is_undo(record) and step.undo is not None else step.act.key
    return max(timedelta(), limits.timeout(step, action) + limits.HANDED_OVER - view.led_for)


def _halt_unknown(view: View, record: StepRecord) -> IncidentStatus:
    question = retrying.unknown_question(view, record)
    if record.reason == reasons.RECORD_ROLLED_BACK:
        return rolled_back.halted(view.status, record, question)
    message = (
        f"{record.action} {record.name} {record.summary}; the operator never repeats it. "
        "Check whether it happened, then answer:"
    )
    remedy = f"{question.answer_with[0]} (or {question.token}={retrying.NOT_DONE})"
    return status.halt(view.status, reasons.STEP_UNKNOWN, message, question, remedy=remedy)
