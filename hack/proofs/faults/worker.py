"""A worker: a namespace with an operator of its own behind proxies of its own, in which one run follows the other."""

import asyncio
import functools
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from incident_operator.kubernetes.apiserver import Kube
from proofs.faults import checker, gather, report
from proofs.faults.apiserver import Plot, Proxy
from proofs.faults.audit import AuditLog, Entry
from proofs.faults.history import History
from proofs.faults.meanwhile import Meanwhile
from proofs.faults.observer import Observer, Seen
from proofs.faults.operators import Operator
from proofs.faults.people import People
from proofs.faults.runs import Result, Run
from proofs.faults.scenario import Example, Scenario
from proofs.faults.troubles import BETWEEN, HIDING, LATE, Fault, Switch
from proofs.faults.watches import Spoiler

_numbers = itertools.count(1)


@dataclass
class Worker:
    """Everything that one run after the other is played with."""

    scenario: Scenario
    example: Example
    operator: Operator
    proxy: Proxy
    observer: Observer
    audit: AuditLog
    account: Kube
    """The operator's own, past the proxy."""
    seen_calls: Mapping[str, int] = field(default_factory=dict)
    """The calls of the last run, by kind."""

    async def play(self, run: Run) -> Result:
        """Play one run, and let the checker judge it."""
        await self.become(self.operator.broken, hastened=run.fault in HIDING)
        began = time.monotonic()
        name = f"r{next(_numbers)}-{int(time.time()) % 100000}"
        self.scenario.begin(name, run.trouble)
        await self.example.begin(self.scenario)
        self.audit.clear(self.scenario.namespace)
        self.seen.forget()
        meanwhile = Meanwhile(self.scenario, self.example, self.operator, self.seen, self.account)
        plot = self._plot(run, meanwhile)
        self._arm(plot)
        people = People(self.scenario, self.example, self.operator, self.seen, plot)
        in_time = await people.see_it_through()
        self._arm(Plot())
        await meanwhile.over()
        history = await self._history(people, in_time, meanwhile)
        await self.scenario.delete_incidents(self.seen)
        findings = tuple(checker.check(history))
        sprung = run.trouble is None or plot.watch.sprung or (plot.switch.sprung and _is_between(run, history))
        self.seen_calls = {kind: count for kind, count in plot.switch.seen.items() if kind not in self.example.beside}
        told = report.around(history, findings, self.operator.log) if findings else ""
        ended = history.end.phase if history.end else "no Incident"
        return Result(run, ended, sprung, findings, round(time.monotonic() - began, 1), told)

    async def become(self, broken: str = "", *, hastened: bool = False) -> None:
        """Go on with an operator that is broken in the named way, or has its safety nets hastened, or with a whole one."""
        if (self.operator.broken, self.operator.hastened, self.operator.later_by) == (broken, hastened, 0):
            return
        self.operator.broken, self.operator.hastened, self.operator.later_by = broken, hastened, 0
        await self.operator.kill()
        await self.operator.until_ready()

    @property
    def seen(self) -> Seen:
        """What is seen of the worker's namespace."""
        return self.observer.of(self.scenario.namespace)

    def _plot(self, run: Run, meanwhile: Meanwhile) -> Plot:
        trouble = run.trouble
        on_watch = trouble is not None and trouble.call.kind.startswith("WATCH ")
        spoiler = Spoiler()
        if trouble is not None and on_watch:
            spoiler = Spoiler(trouble.fault, self.scenario.moment(trouble.call.kind.removeprefix("WATCH ")))
        meddle = self.scenario.abort if run.fault is Fault.ABORTED else self._meddle
        plot = Plot(Switch(None if on_watch else trouble), self.operator.kill, meddle, watch=spoiler)
        if run.fault in {*BETWEEN, *LATE}:
            plot.kill = functools.partial(meanwhile.strike, run.fault, plot)
        return plot

    async def _meddle(self) -> None:
        await self.scenario.note_on_incident()
        await self.example.meddle(self.scenario)

    def _arm(self, plot: Plot) -> None:
        self.proxy.plot = plot
        self.scenario.arm(plot)

    async def _history(self, people: People, in_time: bool, meanwhile: Meanwhile) -> History:
        incident = await self.scenario.live(self.seen)
        entries = await self._entries(incident)
        await self.scenario.all_seen(self.seen)
        others = frozenset(self.scenario.revisions)
        seen, intents = self.seen, tuple(gather.intents(entries))
        keys = gather.keys(intents)
        effects = [
            *gather.scaled(seen.deployments, others, keys),
            *gather.ran(seen.started.values(), seen.jobs.values(), seen.pods.values(), keys),
            *await self.example.effects(self.scenario),
        ]
        return History(
            rules=self.example.rules,
            acknowledged=people.acknowledged,
            incidents=gather.created(entries),
            intents=intents,
            verdicts=tuple(gather.verdicts(entries)),
            bans=tuple(meanwhile.bans),
            effects=tuple(effects),
            plans=tuple(gather.plans(entries)),
            approvals=tuple(gather.approvals(entries)),
            aborts=gather.aborts(entries),
            meddling=gather.meddling(self.scenario.meddling),
            scalings=tuple(gather.scalings(seen.deployments, others, keys)),
            end=gather.end(incident),
            in_time=in_time,
            attended=people.attend,
        )

    async def _entries(self, incident: Mapping[str, Any] | None) -> Sequence[Entry]:
        """Return what the audit log tells of this run, once it tells of the Incident's last version."""
        last = int(incident["metadata"]["resourceVersion"]) if incident else 0
        entries: list[Entry] = []
        for _ in range(100):
            entries = [
                each for each in self.audit.entries(self.scenario.namespace) if self.scenario.is_ours(each.after)
            ]
            if not last or any(entry.moment.revision >= last for entry in entries):
                break
            await asyncio.sleep(0.02)
        return entries


def _is_between(run: Run, history: History) -> bool:
    """Tell whether an act was meant when the process was killed; where none was, a run between intent and act proves nothing."""
    return run.fault not in {*BETWEEN, *LATE} or bool(history.intents)
