"""One visit of an Incident: gather, decide, act, record, and decide again until it must wait."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never

from incident_operator.api.incident import CLOSED_PHASES, Incident
from incident_operator.clients.right_of_way import RightOfWay
from incident_operator.clients.state import Gone, State, Superseded
from incident_operator.core.machine import decisions, machine, underway
from incident_operator.core.machine.view import AGES, View
from incident_operator.core.telling import objectives
from incident_operator.engine.asking import Question
from incident_operator.engine.busy import Busy
from incident_operator.engine.carrier import Carrier
from incident_operator.engine.keys import Key
from incident_operator.engine.progress import Progress
from incident_operator.engine.recorder import Recorder
from incident_operator.engine.runbooks import Runbooks

MAX_TURNS = 500
"""Decisions in one visit; more means that the machine goes in circles."""
LOOK_AGAIN = timedelta(minutes=10)
"""An open Incident is looked at this often whatever the watch says: a lost event must not leave it waiting."""


class GoesInCircles(Exception):
    """The machine decided too often without having to wait: a defect."""


@dataclass(frozen=True, slots=True)
class Visits:
    """Drives one Incident at a time as far as it goes."""

    state: State
    runbooks: Runbooks
    question: Question
    carrier: Carrier
    recorder: Recorder
    clock: Callable[[], datetime]
    unasked: frozenset[str] = frozenset()
    stopping: Callable[[], bool] = bool
    """Whether the process is about to end, or leads no more: an act under way is recorded, and nothing more is begun or told."""
    led_for: Callable[[], timedelta] = lambda: AGES
    """How long this process has led."""
    busy: Busy = field(default_factory=Busy)
    way: RightOfWay = field(default_factory=RightOfWay)

    async def visit(self, key: Key) -> datetime | None:
        """Do what can be done now; return when to come back, None for never: it is closed, or gone."""
        try:
            incident = await self.state.read(key.namespace, key.name)
            if incident.status.phase in CLOSED_PHASES or incident.metadata.deletion_timestamp is not None:
                return None
            self.recorder.echoes.expect(key, incident.metadata.resource_version)
            return await self._drive(Progress.of(incident))
        except Gone:
            return None
        finally:
            self.busy.leave(key)

    async def _drive(self, progress: Progress) -> datetime | None:
        for _ in range(MAX_TURNS):
            await self._give_way(progress.stored)
            view = await self._view(progress.working)
            stopping = self.stopping()
            if stopping and not self.busy.has(_key(view.incident)):
                return None  # nothing was done here that would have to be told; whoever leads next looks at it anew
            decision = decisions.Wait(None) if stopping else machine.decide(view)
            try:
                match decision:
                    case decisions.Wait(until):
                        progress = await self.recorder.rest(progress, view)
                        return _next_look(progress.stored, until, view.now)
                    case decisions.Stop():
                        await self.recorder.finish(progress, view)
                        return None
                    case _ if underway.to_be_recorded(progress.stored.status, view, decision):
                        progress = await self.recorder.publish(progress, view)
                    case _:
                        progress = await self._turn(progress, view, decision)
            except Superseded:
                progress = await self.recorder.read_again(progress)
        raise GoesInCircles(progress.working.metadata.name)

    async def _turn(self, progress: Progress, view: View, decision: decisions.Turn) -> Progress:
        match decision:
            case decisions.Transition(current):
                return progress.knowing(current)
            case decisions.Read(runs):
                return await self.carrier.read(progress, view, runs)
            case decisions.Ask(runs):
                editor = await self.runbooks.editor(view.incident)
                return progress.knowing(await self.question.ask(view, runs, editor))
            case decisions.Begin():
                self._act_begins(view)
                return await self.carrier.begin(progress, view, decision)
            case decisions.Resume(run):
                self._act_begins(view)
                return await self.carrier.resume(progress, view, run)
            case decisions.Probe(run):
                return await self.carrier.probe(progress, view, run)
            case _:
                assert_never(decision)

    async def _give_way(self, incident: Incident) -> None:
        """Let what is severe go first, unless an act has begun: its outcome is not kept in memory longer than it must."""
        if not self.busy.has(_key(incident)):
            await self.way.give(incident.spec.severity.is_severe)

    async def _view(self, incident: Incident) -> View:
        runbook = await self.runbooks.in_force(incident)
        return View(incident, runbook, self.clock(), self.unasked, self.led_for())

    def _act_begins(self, view: View) -> None:
        self.busy.enter(_key(view.incident))


def _key(incident: Incident) -> Key:
    return Key(incident.metadata.namespace, incident.metadata.name)


def _next_look(stored: Incident, until: datetime | None, now: datetime) -> datetime:
    promised = objectives.next_deadline(stored.status.objectives)
    if promised is not None and promised <= now:
        promised = None  # nobody judges it while no Runbook is in force: to wait for it would never end
    return min(filter(None, (until, promised, now + LOOK_AGAIN)))
