"""Effects between intent and outcome: find out what became of them, and admit it where nobody can tell. Nothing is begun here.

A status may be older than what was done, as after a restore from a backup: the act is not done again, and a person says. Three things
show it: the mark of an attempt that was never begun (an action finds it), the evidence of one (`unknown_to`), and step keys that are those
of another Incident (`of_another`), as where a status was restored under a new uid.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from incident_operator.api.approvals import ApprovalState, PendingAnswer
from incident_operator.api.incident import Incident, IncidentStatus, StepRecord, StepState
from incident_operator.api.meta import rfc3339
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, reasons, sanitize
from incident_operator.core.expressions.cel import Program
from incident_operator.core.machine import status, undoing
from incident_operator.core.machine.view import (
    UNDO_PREFIX,
    Ask,
    Begin,
    Blocked,
    Decision,
    Look,
    Probe,
    Read,
    Run,
    Transition,
    View,
    Wait,
    is_undo,
    next_run,
    step_key,
)
from incident_operator.core.outcomes import Doubt, Effect
from incident_operator.core.runbooks import limits
from incident_operator.core.runbooks.compiled import CompiledProbe, CompiledStep

_RESULT = "result"


def decides(step: CompiledStep, doubt: Doubt) -> bool:
    """Tell whether a step fails for a doubt, whatever its `expect` says of the rest: a `verify` that did not look at it."""
    return step.stage is Stage.VERIFY and not _looks_at(step.expect, doubt.about)


def decides_probe(probe: CompiledProbe, doubt: Doubt) -> bool:
    """Tell whether a probe cannot tell, for a doubt that its `expect` did not look at."""
    return not _looks_at(probe.expect, doubt.about)


def _looks_at(program: Program | None, field: str) -> bool:
    """Tell whether an expression names a field of the result, or the result as a whole."""
    named = (each.path for each in program.references if each.root == _RESULT) if program is not None else ()
    return any(not path or path[0] == field for path in named)


_WHY = "the status is older than what was done"


def acts_begun(current: IncidentStatus) -> Mapping[str, int]:
    """Return the acts that a status knows of: record → its newest attempt."""
    return {each.name: each.attempt for each in current.steps if each.effect != Effect.READ and each.attempt}


def can_act(current: IncidentStatus) -> bool:
    """Tell whether there is anything in the record that could be done twice."""
    return any(each.effect != Effect.READ for each in current.steps)


def unknown_to(view: View, acts: Mapping[str, int]) -> Mapping[str, int]:
    """Return which of these acts, as they were once known, the status does not know of. What cannot be one of it is left out."""
    known = acts_begun(view.status)
    return {name: attempt for name, attempt in acts.items() if _is_act(view, name) and attempt > known.get(name, 0)}


def by_evidence(view: View, acts: Mapping[str, tuple[int, str]]) -> IncidentStatus:
    """Return the status in which acts that only the evidence in some ConfigMap tells of are unknown, for a person to say."""
    current = view.status
    for name, (attempt, where) in acts.items():
        told = f"ConfigMap {where} has evidence of attempt {attempt}, which the status does not record"
        current = _left_unknown(view, current, _run(view, name, attempt), told)
    return current


def by_mark(view: View, run: Run, found: str) -> IncidentStatus:
    """Return the same for an act whose mark was found where it was about to be begun."""
    return _left_unknown(view, view.status, run, found)


def halted_by_rollback(current: IncidentStatus, record: StepRecord, question: PendingAnswer) -> IncidentStatus:
    """Stop for a person, who says whether what the status does not know of was done."""
    message = (
        f"The status of this Incident was rolled back, as a restore from a backup does. {record.name}: {record.summary.rstrip('.')}. "
        "It is not done again. Check what was done since, then answer:"
    )
    remedy = f"{question.answer_with[0]} (or {question.token}={undoing.NOT_DONE})"
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
    return record.key is None or record.key == step_key(uid, record.stage, record.name, record.attempt)


def _is_act(view: View, name: str) -> bool:
    """Tell whether it is an act of this Incident, or an undo that is not listed yet."""
    if (record := status.find(view.status, name)) is not None:
        return record.effect != Effect.READ
    step = view.compiled.steps.get(name.removeprefix(UNDO_PREFIX))
    return name.startswith(UNDO_PREFIX) and step is not None and step.undo is not None


def _run(view: View, name: str, attempt: int) -> Run:
    step = name.removeprefix(UNDO_PREFIX)
    stage = Stage.RESTORE if step != name else status.known(view.status, name).stage
    key = step_key(view.incident.metadata.uid, stage, name, attempt)
    return Run(name, step, stage, attempt, key, undo=step != name)


def _left_unknown(view: View, before: IncidentStatus, run: Run, told: str) -> IncidentStatus:
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
    if not undoing.needs_approval(view, record):
        return ""
    used = approval.active(view.status)
    if used is None:
        return "its approval has ended"
    if approval.entry_for(used, record.name) is None:
        return "it is not part of what is approved now"
    outlived = undoing.is_outlived(view.status, view.now)
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
    question = undoing.unknown_question(view, record)
    if record.reason == reasons.RECORD_ROLLED_BACK:
        return halted_by_rollback(view.status, record, question)
    message = (
        f"{record.action} {record.name} {record.summary}; the operator never repeats it. "
        "Check whether it happened, then answer:"
    )
    remedy = f"{question.answer_with[0]} (or {question.token}={undoing.NOT_DONE})"
    return status.halt(view.status, reasons.STEP_UNKNOWN, message, question, remedy=remedy)
