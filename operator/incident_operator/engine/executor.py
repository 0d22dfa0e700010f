"""Executes decisions: runs reads, begins and resumes effects, and records what became of them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from incident_operator.actions.protocol import Call
from incident_operator.api.incident import Incident
from incident_operator.core import approval, reasons
from incident_operator.core.effects import Effect
from incident_operator.core.expressions import render
from incident_operator.core.machine import lookups, status
from incident_operator.core.machine.decisions import Begin, Run
from incident_operator.core.machine.outcome import evaluate, evaluate_probe
from incident_operator.core.machine.view import View
from incident_operator.core.outcomes import Failed, Outcome, Undetermined
from incident_operator.engine import evidence
from incident_operator.engine.approvals import Approvals
from incident_operator.engine.calls import Calls
from incident_operator.engine.metrics import EngineMetrics
from incident_operator.engine.progress import Progress
from incident_operator.engine.recorder import Recorder

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Executor:
    """Runs steps. Every method returns the progress with the outcomes, most of them not stored yet."""

    calls: Calls
    approvals: Approvals
    recorder: Recorder
    metrics: EngineMetrics
    may_act: Callable[[], bool] = lambda: True
    """Whether this process leads at this moment: asked before each intent and each act, since it may have been halted."""

    async def read(self, progress: Progress, view: View, runs: tuple[Run, ...]) -> Progress:
        """Run reads together; they need no intent."""
        begun = progress
        for run in runs:
            if (record := status.find(view.status, run.record)) is not None and record.key != run.key:
                begun = begun.knowing(status.record_intent(begun.working.status, run, view.now))
        view = view.with_status(begun.working.status)
        outcomes = await asyncio.gather(*(self._run_read(view, run) for run in runs))
        for run, outcome in zip(runs, outcomes, strict=True):
            begun = self._with_outcome(begun, view, run, outcome)
        return begun

    async def begin(self, progress: Progress, view: View, begin: Begin) -> Progress:
        """Check that what was approved still holds, store the intent, then do it. Raises `Superseded` before doing it.

        Where this process leads no more, it is left to the one that does.
        """
        run = begin.run
        call = self.calls.call(view, run)
        if isinstance(call, render.RenderError):
            return self._with_outcome(progress, view, run, _unrenderable(call))
        changed = await self.approvals.changed(view, begin, call)
        if changed is not None:
            return progress.knowing(changed)
        if not self.may_act():
            return progress
        intended = view.with_status(status.record_intent(view.status, run, view.now))
        progress = await self.recorder.publish(progress, intended)
        if not self.may_act():
            return progress
        _log.info("Step begins", **_where(view), step=run.record, attempt=run.attempt, key=run.key[:12])
        outcome = await self.calls.run(_started(call, progress.stored, run), _effect(view, run))
        return self._with_outcome(progress, view, run, outcome)

    async def resume(self, progress: Progress, view: View, run: Run) -> Progress:
        """Run an effect again under the intent that is stored; it finds out for itself whether it happened."""
        call = self.calls.call(view, run)
        if isinstance(call, render.RenderError):
            # it may have happened, so this is no failure
            outcome: Outcome = Undetermined(f"it cannot be looked up: {call.field}: {call.message}")
        elif not self.may_act():
            return progress
        else:
            outcome = lookups.of_resumed(await self.calls.run(call, _effect(view, run)))
        return self._with_outcome(progress, view, run, outcome)

    async def probe(self, progress: Progress, view: View, run: Run) -> Progress:
        """Ask a step's probe whether its interrupted effect happened."""
        call = self.calls.call(view, run, probe=True)
        if isinstance(call, render.RenderError):
            outcome: Outcome = _unrenderable(call)
        else:
            outcome = await self.calls.run(call, Effect.READ)
        step = view.compiled.steps[run.step]
        result = evaluate_probe(view.incident, step, outcome, view.now)
        now, current = self.calls.clock(), progress.working.status
        return progress.knowing(status.record_outcome(current, run, result, undoable=step.undo is not None, now=now))

    async def _run_read(self, view: View, run: Run) -> Outcome:
        call = self.calls.call(view, run)
        if isinstance(call, render.RenderError):
            return _unrenderable(call)
        return await self.calls.run(call, Effect.READ)

    def _with_outcome(self, progress: Progress, view: View, run: Run, outcome: Outcome) -> Progress:
        step, now = view.compiled.steps[run.step], self.calls.clock()
        record = status.known(progress.working.status, run.record)
        result = evaluate(progress.working, step, record, run, outcome, now)
        kept = evidence.evidence_of(outcome)
        result = replace(result, evidence=kept.digest if kept else None)
        current = status.record_outcome(progress.working.status, run, result, undoable=step.undo is not None, now=now)
        self.metrics.steps.labels(run.stage.value, step.action, result.state.value).inc()
        _log.info("Step finished", **_where(view), step=run.record, state=result.state.value, summary=result.summary)
        unstored = progress.unstored.adding(run.record, kept)
        return replace(progress.knowing(approval.used(current)), unstored=unstored)


def _started(call: Call, stored: Incident, run: Run) -> Call:
    record = status.find(stored.status, run.record)
    return replace(call, started_at=record.started_at) if record is not None and record.started_at else call


def _effect(view: View, run: Run) -> Effect:
    step = view.compiled.steps[run.step]
    return step.undo.effect if run.undo and step.undo is not None else step.effect


def _unrenderable(error: render.RenderError) -> Failed:
    return Failed(reasons.EXPRESSION_FAILED, f"{error.field}: {error.message}", retryable=False)


def _where(view: View) -> dict[str, str]:
    return {"namespace": view.incident.metadata.namespace, "incident": view.incident.metadata.name}
