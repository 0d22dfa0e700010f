"""Evaluates what an outcome means for its step: `expect` is checked, outputs are taken, retries and polls are counted."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from incident_operator.api.incident import Incident, StepRecord, StepState
from incident_operator.api.meta import delta, seconds
from incident_operator.core import reasons, sanitize
from incident_operator.core.expressions import cel, evaluation
from incident_operator.core.expressions.evaluation import Outputs
from incident_operator.core.machine.in_flight import decides, decides_probe
from incident_operator.core.machine.status import StepResult, later
from incident_operator.core.machine.view import AGES, Run
from incident_operator.core.masks import Masks
from incident_operator.core.outcomes import (
    Effect,
    Failed,
    NotDone,
    Outcome,
    Pending,
    Succeeded,
    Undetermined,
    bounded_retry_after,
)
from incident_operator.core.runbooks import limits
from incident_operator.core.runbooks.compiled import CompiledStep

_LONGEST_PAUSE, _GROWTH = 60.0, 0.2
"""An act that could not begin so far is begun again after a fifth of the time that it has waited, a minute at most."""
_SHORTEST_PAUSE = 1.0
"""Seconds between two looks at an unfinished effect, whatever the action proposes."""


def evaluate(
    incident: Incident,
    step: CompiledStep,
    record: StepRecord,
    run: Run,
    outcome: Outcome,
    now: datetime,
    *,
    led_for: timedelta = AGES,
) -> StepResult:
    """Return what became of the attempt. `record` tells when it began, `led_for` how long anybody could have looked."""
    match outcome:
        case Succeeded():
            return _undone(outcome) if run.undo else _succeeded(incident, step, record, outcome, now)
        case Failed():
            return _failed(step, record, outcome, now)
        case Pending():
            return _pending(step, record, run, outcome, now, led_for)
        case NotDone():
            return _not_done(step, record, run, outcome, now)
        case Undetermined() if step.act.effect is Effect.READ:
            return StepResult(StepState.FAILED, outcome.message, reasons.STEP_FAILED)
        case Undetermined(message, reasons.RECORD_ROLLED_BACK):
            return StepResult(StepState.UNKNOWN, message, reasons.RECORD_ROLLED_BACK)
        case Undetermined():
            return StepResult(StepState.UNKNOWN, f"may or may not have run: {outcome.message}", reasons.STEP_UNKNOWN)
        case _:
            assert_never(outcome)


def evaluate_probe(incident: Incident, step: CompiledStep, outcome: Outcome, now: datetime) -> StepResult:
    """Return whether an interrupted, unkeyed effect happened, as its probe tells."""
    if step.probe is None or not isinstance(outcome, Succeeded):
        said = outcome.message if isinstance(outcome, Failed | Undetermined) else "no answer"
        return StepResult(
            StepState.UNKNOWN, f"may or may not have run; its probe cannot tell: {said}", reasons.INTERRUPTED
        )
    if outcome.doubt is not None and decides_probe(step.probe, outcome.doubt):
        told = f"may or may not have run; its probe cannot tell: {outcome.doubt.why}"
        return StepResult(StepState.UNKNOWN, told, reasons.INTERRUPTED)
    happened = evaluation.condition(step.probe.expect, evaluation.facts(incident), now, outcome.result)
    if isinstance(happened, cel.NoAnswer):
        return StepResult(
            StepState.UNKNOWN, f"may or may not have run; its probe cannot tell: {happened.why}", reasons.INTERRUPTED
        )
    if happened:
        return StepResult(
            StepState.SUCCEEDED, "its probe says that it happened before the operator stopped", effected=True
        )
    told = "its probe says that it had not happened when the operator stopped"
    return StepResult(StepState.PENDING, told, again_at=now, not_done=True)


def to_be_kept(result: StepResult, masks: Masks) -> StepResult:
    """Return the result as it may be stored: its words masked, and without outputs that hold a credential.

    An output is not masked: a later step would compute with the mask, which nobody meant.
    """
    if not masks:
        return result
    found = ((name, masks.whose(value)) for name, value in (result.outputs or {}).items())
    held = {name: whose for name, whose in found if whose}
    told = (f"output {name} is not kept: it holds a credential of Connection {whose}" for name, whose in held.items())
    summary = "; ".join([masks.text(result.summary), *told])
    kept = {name: value for name, value in (result.outputs or {}).items() if name not in held}
    return replace(result, summary=summary, outputs=kept or None)


def _undone(outcome: Succeeded) -> StepResult:
    return StepResult(StepState.SUCCEEDED, outcome.summary)


def _succeeded(
    incident: Incident, step: CompiledStep, record: StepRecord, outcome: Succeeded, now: datetime
) -> StepResult:
    effected = step.act.effect is not Effect.READ
    if (doubt := outcome.doubt) is not None and decides(step, doubt):
        return _unexpected(step, record, outcome, cel.NoAnswer(doubt.why), now)
    if step.expect is not None:
        held = evaluation.condition(step.expect, evaluation.facts(incident), now, outcome.result)
        if held is not True:
            return _unexpected(step, record, outcome, held, now)
    elif (again := _another_try(step, record, outcome, now)) is not None:
        return StepResult(StepState.PENDING, _told(outcome), reasons.CONNECTION_FAILED, again_at=again)
    outputs = Outputs({}, {})
    if step.outputs:
        found = evaluation.outputs(step.outputs, evaluation.facts(incident), now, outcome.result)
        outputs = _that_fit(incident, record, found)
    return StepResult(
        StepState.SUCCEEDED,
        "; ".join([outcome.summary, *(f"no {name}: {why}" for name, why in outputs.problems.items())]),
        outputs=outputs.values or None,
        captured=outcome.captured,
        effected=effected,
    )


def _that_fit(incident: Incident, record: StepRecord, outputs: Outputs) -> Outputs:
    others = (other.outputs for other in incident.status.steps if other.name != record.name and other.outputs)
    taken = sum(len(json.dumps(values)) for values in others)
    if taken + len(json.dumps(sanitize.unmistakable(outputs.values))) <= limits.ALL_OUTPUTS:
        return outputs
    why = f"it is too large: the outputs of all steps may have {limits.ALL_OUTPUTS} bytes together"
    return Outputs({}, {**outputs.problems, **dict.fromkeys(outputs.values, why)})


def _unexpected(
    step: CompiledStep, record: StepRecord, outcome: Succeeded, held: bool | cel.NoAnswer, now: datetime
) -> StepResult:
    why = held.why if isinstance(held, cel.NoAnswer) else f"expected {step.step.expect}"
    summary = f"{outcome.summary}; {why}"
    if (again := _next_poll(step, record, now, outcome.doubt.after if outcome.doubt else 0.0)) is not None:
        return StepResult(StepState.RUNNING, summary, again_at=again)
    if (again := _another_try(step, record, outcome, now)) is not None:
        return StepResult(StepState.PENDING, summary, reasons.EXPECTATION_FAILED, again_at=again)
    effected = step.act.effect is not Effect.READ
    reason = reasons.TIMED_OUT if step.step.until is not None else reasons.EXPECTATION_FAILED
    if isinstance(held, cel.NoAnswer) and held.over_budget:
        reason = reasons.EXPRESSION_OVER_BUDGET
    return StepResult(StepState.FAILED, summary, reason, captured=outcome.captured, effected=effected)


def _failed(step: CompiledStep, record: StepRecord, outcome: Failed, now: datetime) -> StepResult:
    if (again := _next_poll(step, record, now, outcome.after)) is not None:
        return StepResult(StepState.RUNNING, outcome.message, outcome.reason, again_at=again)
    if outcome.retryable and not outcome.effected and _has_another_try(step, record):
        at = _after_backoff(step, now, outcome.after)
        return StepResult(StepState.PENDING, outcome.message, outcome.reason, again_at=at)
    return StepResult(
        StepState.FAILED, outcome.message, outcome.reason, captured=outcome.captured, effected=outcome.effected
    )


def _pending(
    step: CompiledStep, record: StepRecord, run: Run, outcome: Pending, now: datetime, led_for: timedelta
) -> StepResult:
    began = record.started_at or now
    # after a time in which nobody led, the first look that fails does not decide
    late = min(now - began, led_for) >= _longest(step, run)
    if late and step.act.effect is Effect.READ:
        return StepResult(StepState.FAILED, outcome.summary, reasons.TIMED_OUT)
    if late:
        told = f"may or may not have run: still unclear after {_minutes(now - began)}: {outcome.summary}"
        return StepResult(StepState.UNKNOWN, told, reasons.TIMED_OUT)
    return StepResult(StepState.RUNNING, outcome.summary, again_at=later(now, max(outcome.after, _SHORTEST_PAUSE)))


def _not_done(step: CompiledStep, record: StepRecord, run: Run, outcome: NotDone, now: datetime) -> StepResult:
    """What has not begun waits longer and longer; when the time of the step is over, it has failed and is not unknown."""
    since = record.since or now
    if now >= since + _longest(step, run):
        return StepResult(StepState.FAILED, outcome.summary, reasons.TIMED_OUT)
    waited = (now - since).total_seconds()
    pause = max(outcome.after, min(_LONGEST_PAUSE, waited * _GROWTH))
    return StepResult(StepState.PENDING, outcome.summary, again_at=later(now, pause), not_done=True)


def _longest(step: CompiledStep, run: Run) -> timedelta:
    action = step.undo.act.key if run.undo and step.undo is not None else step.act.key
    return limits.timeout(step, action) + limits.GRACE


def _next_poll(step: CompiledStep, record: StepRecord, now: datetime, asked: float = 0.0) -> datetime | None:
    """Return when to look again, not before what was asked for; only a read can say `until`, as the compiler sees to."""
    until = step.step.until
    if until is None:
        return None
    ends = (record.started_at or now) + delta(until.for_)
    pause = max(seconds(until.every), min(bounded_retry_after(asked), (ends - now).total_seconds()))
    return None if now >= ends else later(now, pause)


def _another_try(step: CompiledStep, record: StepRecord, outcome: Succeeded, now: datetime) -> datetime | None:
    """Return when to ask again for an answer that said "not now"; None where it did not, or no try is left. Never for an act."""
    doubt = outcome.doubt
    if doubt is None or not doubt.passes or step.act.effect is not Effect.READ or not _has_another_try(step, record):
        return None
    return _after_backoff(step, now, doubt.after)


def _has_another_try(step: CompiledStep, record: StepRecord) -> bool:
    return record.failures + 1 < limits.attempts(step)


def _after_backoff(step: CompiledStep, now: datetime, asked: float) -> datetime:
    return later(now, max(limits.backoff(step).total_seconds(), bounded_retry_after(asked)))


def _told(outcome: Succeeded) -> str:
    return f"{outcome.summary}; {outcome.doubt.why}" if outcome.doubt else outcome.summary


def _minutes(duration: timedelta) -> str:
    return f"{int(duration.total_seconds() // 60)}m"
