"""An engine on a fake apiserver, with scripted actions that keep count of what they really did."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from incident_operator.actions import ACTIONS
from incident_operator.api.incident import EDITORS, Incident
from incident_operator.api.meta import Model, ObjectKey
from incident_operator.clients.connections import Connections
from incident_operator.core.action import Action, Call, Markers, Preview, shown_marker
from incident_operator.core.machine.view import AGES
from incident_operator.core.outcomes import Effect, NotDone, Outcome, Succeeded
from incident_operator.core.runbooks import compiler
from incident_operator.core.status import report
from incident_operator.engine.calls import Redactors
from incident_operator.engine.executor import Executor, InFlight
from incident_operator.engine.metrics import EngineMetrics
from incident_operator.engine.reconciler import Reconciler
from incident_operator.engine.recorder import Expectations, Recorder
from incident_operator.engine.runbooks import Revisions, Runbooks
from incident_operator.engine.work_queue import Background
from incident_operator.engine.workers import Evaluates, MachineTurns
from incident_operator.kubernetes import apiserver, discovery
from incident_operator.kubernetes.priority import Priority
from incident_operator.kubernetes.state import State
from tests.actions.played import clients
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.manifests import deployment, service_account, statefulset

START = datetime(2025, 10, 21, 0, 30, tzinfo=UTC)
EDITOR = "erin@example.com"
"""Who wrote the Runbook."""
INCIDENT = ObjectKey("prod", "pack-5f2c1-1")
EFFECTS = frozenset({"sqlExecute", "job", "scale", "exec"})


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


@dataclass
class Targets:
    """The world outside: what was done to it, by step key, and what it answers."""

    effects: list[tuple[str, str]] = field(default_factory=list)
    """(step, key) in the order in which they happened."""
    answers: dict[str, Callable[[Call[Any]], Outcome]] = field(default_factory=dict)
    """Step → what its next runs answer, instead of success."""
    previews: dict[str, str] = field(default_factory=dict)
    preview_of: dict[str, Callable[[], object]] = field(default_factory=dict)
    """Step → what happens while it is previewed."""
    calls: list[Call[Any]] = field(default_factory=list)
    sent: list[tuple[str, str, object]] = field(default_factory=list)
    """(step, key, what was sent) of every act."""
    looks: list[str] = field(default_factory=list)
    begun: dict[str, asyncio.Event] = field(default_factory=dict)
    """Step → what is set once its act is begun."""
    holds: dict[str, asyncio.Event] = field(default_factory=dict)
    """Step → what its act waits for."""
    kill_before: str = ""
    kill_after: str = ""

    def actions(self) -> dict[str, Action[Any]]:
        """What the engine calls instead of the real actions."""
        return {key: self._action(key) for key in ("sqlQuery", "sqlExecute", "job", "http", "scale", "exec")}

    def _action(self, key: str) -> Action[Any]:
        doing = {"read": self.read, "show": self.show, "reserve": self.reserve, "act": self.act, "look": self.look}
        return Action(key, Model, dict, Effect.UNKEYED, "", **doing)

    async def read(self, call: Call[Any], _: object) -> Outcome:
        return self._done(call)

    async def show(self, call: Call[Any], _: object, trial: bool) -> Preview:
        self.preview_of.get(call.step, list)()
        do = self.previews.get(call.step, f"do {call.step}")
        return Preview(
            do,
            {"spec": call.spec.to_json()},
            "1 row" if trial else None,
            thing=do,
            bound=do,
            seen={"marker": shown_marker(call.marker)},
        )

    async def reserve(self, call: Call[Any], _: Preview, __: object) -> dict[str, str]:
        return {"job": f"{call.step}-1", "marker": shown_marker(call.marker)}

    async def act(self, call: Call[Any], preview: Preview, _: object) -> Outcome:
        """Do what was shown; whoever asks twice under one key is told."""
        self.sent.append((call.step, call.key, preview.thing))
        self.begun.get(call.step, asyncio.Event()).set()
        if call.step in self.holds:
            await self.holds[call.step].wait()
        return self._done(call)

    async def look(self, call: Call[Any], _: object) -> Outcome:
        """Tell what is known under the key; where a test says what the world answers, it is that."""
        self.looks.append(call.step)
        if call.step in self.answers:
            return self._done(call)
        done = (call.step, call.key) in self.effects
        return _success(call) if done else NotDone(0.0, "it was not done")

    def _done(self, call: Call[Any]) -> Outcome:
        self.calls.append(call)
        self._die("kill_before", call.step)
        outcome = self.answers.get(call.step, _success)(call)
        known = (call.step, call.key) in self.effects
        if call.action in EFFECTS and isinstance(outcome, Succeeded) and not known:
            self.effects.append((call.step, call.key))
        self._die("kill_after", call.step)
        return outcome

    def done(self) -> list[str]:
        return [step for step, _ in self.effects]

    def _die(self, when: str, step: str) -> None:
        if getattr(self, when) == step:
            setattr(self, when, "")
            raise Killed


def _success(call: Call[Any]) -> Outcome:
    return Succeeded({"rows": [{"id": "PP-2025-10-20"}], "status": 200}, "1 row", {"before": 1, "after": 2})


class DyingKube(apiserver.Kube):
    """A client whose process dies at its n-th write (Events, off the path, apart), before it is sent or after it is applied."""

    dies_at = 0
    applied = False

    async def _send(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        if method == "GET" or "/events" in path or (more.get("params") or {}).get("dryRun"):
            return await super()._send(method, path, body, **more)
        type(self).dies_at -= 1
        if self.dies_at == 0 and not self.applied:
            raise Killed
        answer = await super()._send(method, path, body, **more)
        if self.dies_at == 0:
            raise Killed
        return answer


class Trusting:
    """Approvals can be trusted, unless the test says otherwise."""

    def __init__(self) -> None:
        self.why_not = ""

    async def problem(self, incident: Incident | None = None, plan_hash: str = "") -> str:
        return self.why_not


@dataclass
class FakeCluster:
    """The engine and everything around it."""

    api: FakeApiserver
    client: apiserver.Kube
    targets: Targets = field(default_factory=Targets)
    trust: Trusting = field(default_factory=Trusting)
    now: datetime = START
    background: Background = field(default_factory=lambda: Background(Priority()))

    in_flight: InFlight = field(default_factory=InFlight)
    leads: Callable[[], bool] = lambda: True
    """Whether a process leads; asked whenever the process asks itself."""
    evaluations: Evaluates | None = None
    """What evaluates heavy expressions; without it the process does."""

    def engine(
        self, client: apiserver.Kube | None = None, key: bytes = b"m" * 32, led_for: float | None = None
    ) -> Reconciler:
        """A process that has just started: it remembers nothing. It has led for so many seconds, or for ages."""
        ages = AGES if led_for is None else timedelta(seconds=led_for)
        chosen = client or self.client
        self._started = getattr(self, "_started", 0) + 1
        state = State(chosen, f"process-{self._started}", pauses=(0.0, 0.0))
        metrics = EngineMetrics(CollectorRegistry())
        recorder = Recorder(state, chosen, Expectations(), metrics, self.background, "test", report.markdown)
        executor = Executor(
            self.targets.actions(),
            Markers(key),
            self.trust,
            recorder,
            metrics,
            Redactors(clients(connections=Connections(chosen)), ACTIONS, lambda: self.now),
            self.in_flight,
            lambda: self.now,
            lambda: "nonce",
            self.leads,
            turns=MachineTurns(self.evaluations),
        )
        runbooks = runbooks_of(chosen)
        return Reconciler(
            state,
            runbooks,
            executor,
            recorder,
            lambda: self.now,
            stopping=lambda: not self.leads(),
            led_for=lambda: ages,
        )

    def incident(self) -> Incident:
        return Incident.model_validate(self.api.object(discovery.incidents(*INCIDENT)))

    def state(self, step: str) -> str:
        return next(record.state.value for record in self.incident().status.steps if record.name == step)

    async def annotate(self, verb: str, value: str) -> None:
        patch = {"metadata": {"annotations": {f"incidents.dev/{verb}": value}}}
        await self.client.merge_patch(discovery.incidents(*INCIDENT), patch)

    async def approve(self, by: str = "alice@example.com") -> None:
        pending = self.incident().status.pending_approval
        assert pending is not None
        await self.annotate("approve", f"{pending.plan_hash[:12]} {by}")

    async def resolve_alert(self) -> None:
        body = self.api.object(discovery.incidents(*INCIDENT))
        alerts = [{**alert, "status": "resolved"} for alert in body["spec"]["alerts"]]
        await self.client.merge_patch(discovery.incidents(*INCIDENT), {"spec": {"alerts": alerts}})

    def later(self, **of: float) -> None:
        self.now += timedelta(**of)

    def status_writes(self) -> int:
        return len([one for one in self.api.writes if one.path.endswith("/status")])


@asynccontextmanager
async def fake_cluster(runbook: str) -> AsyncIterator[FakeCluster]:
    """A cluster in which an alert has just become an Incident."""
    async with FakeApiserver() as api, apiserver.Kube(api.access()) as client:
        for account in ("rb", "poor"):
            api.put(service_account(account))
        for made in (deployment("scheduler"), deployment("web"), statefulset("cache")):
            api.put(made)
        for connection in ("read", "write", "api"):
            kind = "http" if connection == "api" else "postgres"
            where = {"http": {"url": "http://api"}, "postgres": {"host": "db", "database": "dawsos"}}
            api.put(_named("Connection", connection, {"type": kind, kind: where[kind]}))
        api.put(edited_by(_named("Runbook", "pack", yaml.safe_load(runbook)), EDITOR))
        alert = {"id": "a1", "startsAt": "2025-10-21T00:30:00Z", "status": "firing"}
        labels = {"alertname": "PackFailed", "pack_date": "2025-10-21"}
        spec = {"runbookRef": {"name": "pack"}, "severity": "P1", "commonLabels": labels, "alerts": [alert]}
        api.put(_named("Incident", INCIDENT.name, spec))
        made = FakeCluster(api, client)
        yield made
        await made.background.drain()


def edited_by(body: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The Runbook with its editors, as the policies stamp them."""
    return {**body, "metadata": {**body["metadata"], "annotations": {EDITORS: "\n".join(names)}}}


def _named(kind: str, name: str, spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "incidents.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "prod"},
        "spec": spec,
    }


async def to_approval(fake_cluster: FakeCluster) -> None:
    """Let a process go as far as it can without a person."""
    await fake_cluster.engine().reconcile(INCIDENT)


async def to_the_end(fake_cluster: FakeCluster) -> None:
    """Approve what is asked, let the alert resolve, and have it closed."""
    await to_approval(fake_cluster)
    await fake_cluster.approve()
    await fake_cluster.engine().reconcile(INCIDENT)
    await fake_cluster.resolve_alert()
    await fake_cluster.engine().reconcile(INCIDENT)


def runbooks_of(
    client: apiserver.Kube,
    revisions: Revisions | None = None,
    elsewhere: Callable[[Mapping[str, str]], str] = lambda _: "",
) -> Runbooks:
    """The Runbooks of an apiserver, compiled with all actions that there are."""
    compiled = functools.partial(compiler.compile_runbook, actions=ACTIONS)
    return Runbooks(client, revisions or Revisions(client), ACTIONS, compiled, elsewhere)
