"""One visit of an Incident: gather, decide, act, record, and decide again until it must wait."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import assert_never

import structlog

from incident_operator.actions.protocol import Call
from incident_operator.api.incident import CLOSED_PHASES, Incident, IncidentStatus
from incident_operator.clients import kube
from incident_operator.clients.state import Gone, State, Superseded
from incident_operator.core import (
    approval,
    decisions,
    judge,
    machine,
    objectives,
    presentation,
    reasons,
    render,
    report,
    status,
)
from incident_operator.core.decisions import Run
from incident_operator.core.effects import Effect
from incident_operator.core.outcomes import Failed, Outcome
from incident_operator.core.view import Pinned, View
from incident_operator.engine import events, evidence
from incident_operator.engine.acts import Acts
from incident_operator.engine.asking import Question
from incident_operator.engine.echoes import Echoes
from incident_operator.engine.evidence import Unstored
from incident_operator.engine.keys import Key
from incident_operator.engine.metrics import EngineMetrics
from incident_operator.engine.runbooks import Runbooks

MAX_TURNS = 500
"""Decisions in one visit; more means that the machine goes in circles."""
LOOK_AGAIN = timedelta(minutes=10)
"""An open Incident is looked at this often whatever the watch says: a lost event must not leave it waiting."""
_log = structlog.get_logger()


class GoesInCircles(Exception):
    """The machine decided too often without having to wait: a defect."""


@dataclass(frozen=True, slots=True)
class Progress:
    """An Incident in the middle of a visit: what is stored, and what is known beyond it."""

    stored: Incident
    working: Incident
    unstored: Unstored = field(default_factory=Unstored)

    def knowing(self, current: IncidentStatus) -> "Progress":
        """The same with a status that is not stored yet."""
        return replace(self, working=self.working.model_copy(update={"status": current}))


@dataclass(frozen=True, slots=True)
class Visits:
    """Drives one Incident at a time as far as it goes."""

    state: State
    client: kube.Kube
    runbooks: Runbooks
    acts: Acts
    question: Question
    echoes: Echoes
    metrics: EngineMetrics
    instance: str
    """Name of this process, for Events."""
    unasked: frozenset[str] = frozenset()

    async def visit(self, key: Key) -> datetime | None:
        """Do what can be done now; return when to come back, None for not before the Incident changes."""
        try:
            incident = await self.state.read(key.namespace, key.name)
            if incident.status.phase in CLOSED_PHASES or incident.metadata.deletion_timestamp is not None:
                return None
            return await self._drive(Progress(incident, incident))
        except Gone:
            return None

    async def _drive(self, progress: Progress) -> datetime | None:
        for _ in range(MAX_TURNS):
            view = await self._view(progress.working)
            decision = machine.decide(view)
            try:
                match decision:
                    case decisions.Wait(until):
                        progress = await self._publish(progress, view)
                        promised = objectives.next_deadline(progress.stored.status.objectives)
                        return min(filter(None, (until, promised, view.now + LOOK_AGAIN)))
                    case decisions.Stop():
                        await self._finish(progress, view)
                        return None
                    case _:
                        progress = await self._turn(progress, view, decision)
            except Superseded:
                progress = await self._read_again(progress)
        raise GoesInCircles(progress.working.metadata.name)

    async def _turn(self, progress: Progress, view: View, decision: decisions.Decision) -> Progress:
        match decision:
            case decisions.Transition(current):
                return progress.knowing(current)
            case decisions.Read(runs):
                return await self._read(progress, view, runs)
            case decisions.Ask(runs):
                editor = await self.runbooks.editor(view.incident)
                return progress.knowing(await self.question.ask(view, runs, editor))
            case decisions.Begin():
                return await self._begin(progress, view, decision)
            case decisions.Resume(run):
                return await self._resume(progress, view, run)
            case decisions.Probe(run):
                return await self._probe(progress, view, run)
            case decisions.Wait() | decisions.Stop():
                return progress
            case _:
                assert_never(decision)

    async def _read(self, progress: Progress, view: View, runs: tuple[Run, ...]) -> Progress:
        begun = progress
        for run in runs:
            if (record := status.find(view.status, run.record)) is not None and record.key != run.key:
                begun = begun.knowing(status.begin(begun.working.status, run, view.now))
        view = view.with_status(begun.working.status)
        outcomes = await asyncio.gather(*(self._outcome(view, run) for run in runs))
        for run, outcome in zip(runs, outcomes, strict=True):
            begun = self._settled(begun, view, run, outcome)
        return begun

    async def _begin(self, progress: Progress, view: View, begin: decisions.Begin) -> Progress:
        call = self.acts.call(view, begin.run)
        if isinstance(call, render.RenderError):
            return self._settled(progress, view, begin.run, _unrenderable(call))
        changed = await self.question.changed(view, begin, call)
        if changed is not None:
            return progress.knowing(changed)
        intended = view.with_status(status.begin(view.status, begin.run, view.now))
        progress = await self._publish(progress, intended)
        _log.info(
            "Step begins", **_where(view), step=begin.run.record, attempt=begin.run.attempt, key=begin.run.key[:12]
        )
        outcome = await self.acts.run(_started(call, progress.stored, begin.run), _effect(view, begin.run))
        return self._settled(progress, view, begin.run, outcome)

    async def _resume(self, progress: Progress, view: View, run: Run) -> Progress:
        return self._settled(progress, view, run, await self._outcome(view, run))

    async def _probe(self, progress: Progress, view: View, run: Run) -> Progress:
        call = self.acts.call(view, run, probe=True)
        outcome = (
            _unrenderable(call) if isinstance(call, render.RenderError) else await self.acts.run(call, Effect.READ)
        )
        step = view.compiled.steps[run.step]
        verdict = judge.judge_probe(view.incident, step, outcome, view.now)
        settled = status.settle(
            progress.working.status, run, verdict, undoable=step.undo is not None, now=self.acts.clock()
        )
        return progress.knowing(settled)

    async def _outcome(self, view: View, run: Run) -> Outcome:
        call = self.acts.call(view, run)
        if isinstance(call, render.RenderError):
            return _unrenderable(call)
        return await self.acts.run(call, _effect(view, run))

    def _settled(self, progress: Progress, view: View, run: Run, outcome: Outcome) -> Progress:
        step, now = view.compiled.steps[run.step], self.acts.clock()
        record = status.find(progress.working.status, run.record)
        if record is None:
            return progress
        verdict = judge.judge(progress.working, step, record, run, outcome, now)
        self.metrics.steps.labels(run.stage.value, step.action, verdict.state.value).inc()
        exhibit = evidence.exhibit(outcome)
        verdict = replace(verdict, evidence=exhibit.digest if exhibit else None)
        current = status.settle(progress.working.status, run, verdict, undoable=step.undo is not None, now=now)
        current = approval.used(current)
        _log.info("Step told", **_where(view), step=run.record, state=verdict.state.value, summary=verdict.summary)
        return replace(progress.knowing(current), unstored=progress.unstored.adding(run.record, exhibit))

    async def _publish(self, progress: Progress, view: View) -> Progress:
        shown = presentation.present(view)
        if presentation.significant(shown) == presentation.significant(progress.stored.status):
            return progress
        await evidence.store(self.client, view.incident, "evidence", progress.unstored.texts)
        stored = await self.state.store(progress.stored, shown)
        self.echoes.expect(Key(stored.metadata.namespace, stored.metadata.name), stored.metadata.resource_version)
        if stored.status.phase is not progress.stored.status.phase:
            _log.info("Phase changes", **_where(view), phase=stored.status.phase.value, message=stored.status.message)
            self.metrics.phases.labels(stored.status.phase.value).inc()
            await events.phase_changed(self.client, stored, self.instance, view.now)
        return Progress(stored, stored)

    async def _finish(self, progress: Progress, view: View) -> None:
        if progress.stored.status.phase in CLOSED_PHASES:
            return
        shown = view.with_status(presentation.present(view))
        text = report.markdown(shown.incident, shown.compiled.spec if isinstance(shown.runbook, Pinned) else None)
        await evidence.store(self.client, view.incident, "report", {"report.md": text})
        await self._publish(progress, view)

    async def _read_again(self, progress: Progress) -> Progress:
        meta = progress.stored.metadata
        fresh = await self.state.read(meta.namespace, meta.name)
        if fresh.metadata.uid != meta.uid:
            raise Gone(meta.name)
        if fresh.status.written_by != progress.stored.status.written_by:
            return Progress(fresh, fresh)
        working = fresh.model_copy(update={"status": progress.working.status})
        return replace(progress, stored=fresh, working=working)

    async def _view(self, incident: Incident) -> View:
        runbook = await self.runbooks.in_force(incident)
        return View(incident, runbook, self.acts.clock(), self.unasked)


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
