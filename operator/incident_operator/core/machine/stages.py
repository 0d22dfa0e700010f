"""How an Incident advances through its Runbook's stages, one rung per stage."""

from incident_operator.api.incident import IncidentStatus, StepRecord, StepState
from incident_operator.api.runbook import OnFailure, Stage
from incident_operator.core import approval, reasons, sanitize
from incident_operator.core.effects import Effect
from incident_operator.core.expressions import evaluation, expr, facts
from incident_operator.core.machine import coverage, status, undoing
from incident_operator.core.machine.decisions import Ask, Begin, Decision, Read, Transition, Wait
from incident_operator.core.machine.retrying import retry_question
from incident_operator.core.machine.view import View, is_undo, next_run
from incident_operator.core.runbooks import dependencies
from incident_operator.core.runbooks.compiled import CompiledStep

_PASSED = frozenset({StepState.SUCCEEDED, StepState.SKIPPED, StepState.UNDONE, StepState.UNDO_FAILED})
_DEFAULT_ON_FAILURE = {
    Stage.DIAGNOSE: OnFailure.CONTINUE,
    Stage.MITIGATE: OnFailure.STOP,
    Stage.REMEDIATE: OnFailure.STOP,
    Stage.VERIFY: OnFailure.STOP,
    Stage.RESTORE: OnFailure.STOP,
}

_MADE_GOOD_LATER = frozenset({Stage.VERIFY, Stage.RESTORE})
"""Stages that have to come out well although the alert is gone."""
_STOPPED_BECAUSE = {Stage.VERIFY: reasons.VERIFICATION_FAILED, Stage.RESTORE: reasons.RESTORE_FAILED}


def diagnose(view: View) -> Decision | None:
    """All reads of the diagnosis run together; one that fails leaves its answer unknown."""
    return _read_stage(view, Stage.DIAGNOSE)


def mitigate(view: View) -> Decision | None:
    """Reversible acts, in order; a failure undoes what was done and calls a human."""
    return _one_by_one(view, Stage.MITIGATE)


def remediate(view: View) -> Decision | None:
    """What may be destructive, in order, each covered by an approval."""
    return _one_by_one(view, Stage.REMEDIATE)


def verify(view: View) -> Decision | None:
    """Reads, polled until they are true or their time is over."""
    return _read_stage(view, Stage.VERIFY)


def restore(view: View) -> Decision | None:
    """The stage's own steps, in order. The undos come after them, but do not wait for what nobody approves, or can be asked."""
    decision = _one_by_one(view, Stage.RESTORE)
    match decision:
        case Ask(runs) if approval.times_expired(view.status, runs[0].record) > 0:
            return undoing.when_resolved(view) or decision
        case Ask((run, *_)) | Begin(run) if coverage.could_not_be_asked(view, run.record):
            return undoing.when_resolved(view) or decision
        case _:
            return decision


def _read_stage(view: View, stage: Stage) -> Decision | None:
    decision = _read_together(view, stage)
    if decision is not None:
        return decision
    failed = (record for record in view.records(stage) if record.state is StepState.FAILED)
    stops = next((record for record in failed if not _goes_on(view, record)), None)
    return None if stops is None else _stop(view, stops)


def _one_by_one(view: View, stage: Stage) -> Decision | None:
    for record in view.records(stage):
        if not is_undo(record) and (decision := _step(view, record)) is not None:
            return decision
    return None


def _step(view: View, record: StepRecord) -> Decision | None:
    if record.state in _PASSED:
        return None
    if record.state in {StepState.FAILED, StepState.REJECTED}:
        return None if _goes_on(view, record) else _stop(view, record)
    if (until := status.waits_until(record, view.now)) is not None:
        return Wait(until)
    step = view.step(record)
    wanted = _wanted(view, step)
    if wanted is False:
        return Transition(status.not_needed(view.status, record.name, step.step.when or ""))
    if isinstance(wanted, expr.NoAnswer):
        undo = undoing.when_resolved(view) if record.stage is Stage.RESTORE else None
        return undo or Transition(_condition_unknown(view, record, wanted))
    if step.act.effect is Effect.READ:
        return Read((next_run(view, record),))
    return (
        coverage.under_approval(view, record)
        if coverage.needs_approval(view, record)
        else Begin(next_run(view, record))
    )


def _read_together(view: View, stage: Stage) -> Decision | None:
    due, next_look = [], []
    for record in view.records(stage):
        if record.state not in {StepState.PENDING, StepState.RUNNING}:
            continue
        if (until := status.waits_until(record, view.now)) is not None:
            next_look.append(until)
            continue
        step = view.step(record)
        if _waits_for_sibling(view, step, stage):
            continue
        wanted = _wanted(view, step)
        if wanted is False:
            return Transition(status.not_needed(view.status, record.name, step.step.when or ""))
        if isinstance(wanted, expr.NoAnswer):
            return Transition(_answer_unknown(view, record, wanted))
        due.append(next_run(view, record))
    if due:
        return Read(tuple(due))
    return Wait(min(next_look)) if next_look else None


def _waits_for_sibling(view: View, step: CompiledStep, stage: Stage) -> bool:
    unfinished = {r.name for r in view.records(stage) if r.state not in status.FINISHED}
    return bool(dependencies.of(step) & unfinished)


def _wanted(view: View, step: CompiledStep) -> bool | expr.NoAnswer:
    if step.when is None:
        return True
    return evaluation.condition(step.when, facts.facts(view.incident), view.now)


def _answer_unknown(view: View, record: StepRecord, why: expr.NoAnswer) -> IncidentStatus:
    summary = f"cannot tell whether it is needed: {why.why}"
    return status.update(
        view.status,
        record.name,
        state=StepState.FAILED,
        reason=_why_unknown(why),
        summary=sanitize.text(summary, status.SUMMARY_LIMIT),
        outputs=None,
    )


def _condition_unknown(view: View, record: StepRecord, why: expr.NoAnswer) -> IncidentStatus:
    question = retry_question(view, view.status, record.name)
    message = f"Cannot tell whether {record.name} is needed: {why.why}; it was not run."
    reason = reasons.RESTORE_FAILED if record.stage is Stage.RESTORE else _why_unknown(why)
    return status.halt(view.status, reason, message, question, remedy=f"Retry: {question.answer_with[0]}")


def _why_unknown(why: expr.NoAnswer) -> str:
    return reasons.EXPRESSION_OVER_BUDGET if why.over_budget else reasons.CONDITION_UNKNOWN


def _goes_on(view: View, record: StepRecord) -> bool:
    if record.stage not in _MADE_GOOD_LATER and view.incident.is_over:
        return True
    if record.state is StepState.REJECTED:
        return False
    wanted = view.step(record).step.on_failure or _DEFAULT_ON_FAILURE[record.stage]
    return wanted is OnFailure.CONTINUE


def _stop(view: View, record: StepRecord) -> Decision:
    if record.state is StepState.REJECTED:
        undo = undoing.when_resolved(view) if record.stage is Stage.RESTORE else None
        return undo or Transition(_halt_rejected(view, record))
    unwinding = undoing.after_failure(view, record.stage)
    if unwinding is not None:
        return unwinding
    question = retry_question(view, view.status, record.name)
    reason = _STOPPED_BECAUSE.get(record.stage, reasons.STEP_FAILED)
    undone = undoing.told(view.status)
    why = record.summary.rstrip(".") or record.reason
    message = f"{record.stage.value.capitalize()} step {record.name} failed: {why}.{undone}"
    remedy = f"Retry: {question.answer_with[0]}"
    return Transition(status.halt(view.status, reason, message, question, remedy=remedy))


def _halt_rejected(view: View, record: StepRecord) -> IncidentStatus:
    question = retry_question(view, view.status, record.name)
    message = f"{record.name} was {record.summary} and not done.{undoing.told(view.status)}"
    remedy = f"Ask again: {question.answer_with[0]}"
    return status.halt(view.status, reasons.REJECTED, message, question, remedy=remedy)
