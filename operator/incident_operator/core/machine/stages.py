"""How an Incident advances through its Runbook's stages, one rung per stage; and the call of each step, rendered from what is known."""

from collections.abc import Callable, Mapping
from typing import Any

from incident_operator.api.approvals import PlanEntry
from incident_operator.api.incident import (
    INCIDENT_LABEL,
    RUNBOOK_LABEL,
    STEP_LABEL,
    IncidentStatus,
    StepRecord,
    StepState,
    incident_labels,
)
from incident_operator.api.runbook import OnFailure, Stage
from incident_operator.core import approval, reasons, sanitize, texts
from incident_operator.core.action import Call, Preview, UndoOf
from incident_operator.core.expressions import cel, evaluation, templates
from incident_operator.core.machine import status, undoing
from incident_operator.core.machine.undoing import retry_question
from incident_operator.core.machine.view import (
    Ask,
    Begin,
    Decision,
    Read,
    Run,
    Transition,
    View,
    Wait,
    is_undo,
    next_run,
    shared_targets,
)
from incident_operator.core.outcomes import Effect
from incident_operator.core.runbooks import limits
from incident_operator.core.runbooks.compiled import (
    CompiledAction,
    CompiledProbe,
    CompiledStep,
    CompiledUndo,
    dependencies_of,
)

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
        case Ask((run, *_)) | Begin(run) if undoing.could_not_be_asked(view, run.record):
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
    if isinstance(wanted, cel.NoAnswer):
        undo = undoing.when_resolved(view) if record.stage is Stage.RESTORE else None
        return undo or Transition(_condition_unknown(view, record, wanted))
    if step.act.effect is Effect.READ:
        return Read((next_run(view, record),))
    return (
        undoing.under_approval(view, record) if undoing.needs_approval(view, record) else Begin(next_run(view, record))
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
        if isinstance(wanted, cel.NoAnswer):
            return Transition(_answer_unknown(view, record, wanted))
        due.append(next_run(view, record))
    if due:
        return Read(tuple(due))
    return Wait(min(next_look)) if next_look else None


def _waits_for_sibling(view: View, step: CompiledStep, stage: Stage) -> bool:
    unfinished = {r.name for r in view.records(stage) if r.state not in status.FINISHED}
    return bool(dependencies_of(step) & unfinished)


def _wanted(view: View, step: CompiledStep) -> bool | cel.NoAnswer:
    if step.when is None:
        return True
    return evaluation.condition(step.when, evaluation.facts(view.incident), view.now)


def _answer_unknown(view: View, record: StepRecord, why: cel.NoAnswer) -> IncidentStatus:
    summary = f"cannot tell whether it is needed: {why.why}"
    return status.update(
        view.status,
        record.name,
        state=StepState.FAILED,
        reason=_why_unknown(why),
        summary=sanitize.text(summary, status.SUMMARY_LIMIT),
        outputs=None,
    )


def _condition_unknown(view: View, record: StepRecord, why: cel.NoAnswer) -> IncidentStatus:
    question = retry_question(view, view.status, record.name)
    message = f"Cannot tell whether {record.name} is needed: {why.why}; it was not run."
    reason = reasons.RESTORE_FAILED if record.stage is Stage.RESTORE else _why_unknown(why)
    return status.halt(view.status, reason, message, question, remedy=f"Retry: {question.answer_with[0]}")


def _why_unknown(why: cel.NoAnswer) -> str:
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


Mark = Callable[[str, Stage, str, int], str]
"""Makes the marker of an attempt: `core/action.py`, `Markers.of`."""


def unmarked(*_attempt: object) -> str:
    """Make no marker: a read leaves nothing anywhere."""
    return ""


def call_of(view: View, run: Run, mark: Mark = unmarked, *, probe: bool = False) -> Call[Any] | templates.RenderError:
    """Return the rendered call of a run, or why it cannot be rendered."""
    step = view.compiled.steps[run.step]
    act = _act(step, run, probe=probe)
    spec = act.template.constant or templates.render(act.template, evaluation.facts(view.incident), view.now)
    if isinstance(spec, templates.RenderError):
        return spec
    record = status.known(view.status, run.record)
    meta = view.incident.metadata
    return Call(
        namespace=meta.namespace,
        incident=meta.name,
        incident_uid=meta.uid,
        runbook=view.runbook_name,
        service_account=view.compiled.spec.service_account_name,
        stage=run.stage,
        step=run.record,
        attempt=run.attempt,
        key=run.key,
        action=act.key,
        spec=spec,
        timeout=limits.timeout(step, act.key).total_seconds(),
        started_at=record.started_at or view.now,
        undo_of=_undo_of(view, run),
        seen=record.seen if record.key == run.key else None,
        marker=mark(meta.uid, run.stage, run.record, run.attempt),
        severity=view.incident.spec.severity.value,
        labels=_labels(view, run),
    )


def entry_of(view: View, run: Run, call: Call[Any], preview: Preview) -> PlanEntry | str:
    """Return what a plan says of a call, or why nobody can be asked: what people read, and the digest of all that is sent.

    Every value is one line that says exactly what it is, so that none can look like another part of the plan.
    """
    step = view.compiled.steps[run.step]
    common = {"action": call.action, "timeout": f"{call.timeout:.0f}s", "attempts": limits.attempts(step)}
    whole = {name: texts.yaml_lines(value) for name, value in preview.whole.items()}
    details = sanitize.exact({**common, "actsAs": call.service_account, **preview.details})
    entry = PlanEntry.model_construct(
        allows=[*shared_targets(view, run), *preview.allows] or None,
        step=run.record,
        attempt=run.attempt,
        do=texts.unmistakable(preview.do),
        details={**details, **whole, approval.DIGEST: preview.digest},
        in_trial=_told(preview.in_trial),
        in_trial_counted=_told(preview.in_trial_counted),
    )
    return approval.too_large(entry) or entry


def _told(trial: str | None) -> str | None:
    return None if trial is None else sanitize.text(trial, 512)


def _act(step: CompiledStep, run: Run, *, probe: bool) -> CompiledAction:
    part: CompiledStep | CompiledUndo | CompiledProbe | None = step.probe if probe else step.undo if run.undo else step
    if part is None:  # the act itself must never stand in for what is missing
        raise LookupError(f"step {run.step} declares no {'probe' if probe else 'undo'}")
    return part.act


def _undo_of(view: View, run: Run) -> UndoOf | None:
    original = status.known(view.status, run.step) if run.undo else None
    if original is None or original.key is None:
        return None
    return UndoOf(key=original.key, captured=original.captured or {})


def _labels(view: View, run: Run) -> Mapping[str, str]:
    return incident_labels(
        {INCIDENT_LABEL: view.incident.metadata.name, RUNBOOK_LABEL: view.runbook_name, STEP_LABEL: run.record}
    )
