"""Whether a Runbook can be used: compiled, pinned, its Connections probed as its own account; told in `Ready`."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from incident_operator.actions import workloads
from incident_operator.api.connection import Connection
from incident_operator.api.meta import Condition, ObjectKey
from incident_operator.api.runbook import Runbook, RunbookStatus
from incident_operator.clients import kube, missing, paths, probes, redaction
from incident_operator.clients.connections import EndpointError, Finds, NoConnection, Teaching, is_named, malformed
from incident_operator.clients.redaction import Redactor
from incident_operator.core import sanitize, texts
from incident_operator.core.alerts.scope import AlertScope
from incident_operator.core.runbooks import editors, reading, warnings
from incident_operator.core.runbooks.compiled import Compiled
from incident_operator.core.runbooks.reading import Malformed
from incident_operator.core.status import conditions
from incident_operator.engine.counts import Counts
from incident_operator.engine.machine_turns import MachineTurns
from incident_operator.engine.probe_results import ConnectionUsers, ProbeResults
from incident_operator.engine.revisions import Altered, Revisions
from incident_operator.engine.runbooks import Runbooks

READY = "Ready"
_NOT_READY = "ConnectionNotReady"
_WORST_FIRST = ("AccountMissing", "TargetMissing", _NOT_READY)
_MESSAGE_LIMIT = 2000
_LINE_LIMIT = 1000
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps steps of a Runbook from working, though its text is right: it runs all the same."""

    reason: str
    """Of the condition `Ready`."""
    told: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Checks Runbooks and writes their status; a status that would not change is not written."""

    client: kube.Kube
    runbooks: Runbooks
    revisions: Revisions
    connections: Finds
    probes: probes.Probes
    counts: Counts
    clock: Callable[[], datetime]
    over_budget: Callable[[ObjectKey], str] = lambda _: ""
    """Says why a Runbook whose text is right is not matched, by what others of its namespace take; empty where it is."""
    scope: AlertScope = field(default_factory=AlertScope)
    """Whose alerts are whose."""
    users: ConnectionUsers = field(default_factory=ConnectionUsers)
    probe_results: ProbeResults = field(default_factory=ProbeResults)
    turns: MachineTurns = field(default_factory=MachineTurns)

    async def check(self, key: ObjectKey) -> bool:
        """Check one Runbook, its Connections included; False where there is none. Raises `kube.ApiError`."""
        runbook = await self.runbooks.read(key.namespace, key.name)
        if runbook is None:
            await self._tell_unused(key, self.users.forget(key))
            return False
        if isinstance(runbook, Malformed):
            await self._tell_unused(key, self.users.forget(key))
            ready = _condition([str(runbook.problem)], "Invalid", self._now(), runbook.metadata.generation)
            await self._tell(runbook, "", runbook.status.alerts, ready, for_good=True)
        else:
            await self._judge(runbook)
        return True

    async def _judge(self, runbook: Runbook) -> None:
        key, alerts = ObjectKey(runbook.metadata.namespace, runbook.metadata.name), ", ".join(runbook.spec.match)[:512]
        named = self.runbooks.connections_of(runbook.spec)
        await self._tell_unused(key, self.users.note(key, runbook.spec.service_account_name, named))
        compiled = await self.runbooks.compile(runbook)
        if not isinstance(compiled, Compiled):
            for_good = not all(problem.elsewhere for problem in compiled)
            await self._tell_invalid(runbook, alerts, map(str, compiled), for_good=for_good)
            return
        by_others, by_itself = self.over_budget(key), await self.turns.over_budget(key.namespace, compiled)
        if by_others or by_itself:
            told = filter(None, [by_others, *map(str, by_itself)])
            await self._tell_invalid(runbook, alerts, told, for_good=bool(by_itself))
            return
        await self._judge_usable(runbook, compiled, alerts)

    async def _tell_invalid(self, runbook: Runbook, alerts: str, problems: Iterable[str], *, for_good: bool) -> None:
        ready = _condition(list(problems), "Invalid", self._now(), runbook.metadata.generation)
        await self._tell(runbook, "", alerts, ready, for_good=for_good)

    async def _judge_usable(self, runbook: Runbook, compiled: Compiled, alerts: str) -> None:
        try:
            revision = await self.revisions.keep(runbook)
        except Altered as error:
            altered = _condition([str(error)], "RevisionAltered", self._now(), runbook.metadata.generation)
            await self._tell(runbook, "", alerts, altered, for_good=True)
            return
        troubles = await self._troubles(runbook, compiled)
        restricted = self.scope.restricts(runbook.metadata.namespace, compiled.matchers)
        told = [editors.warning(runbook), restricted, *(f"Warning: {each}" for each in warnings.of(compiled))]
        warning = _joined(filter(None, told))
        generation = runbook.metadata.generation
        ready = _condition([each.told for each in troubles], _worst(troubles), self._now(), generation, warning)
        await self._tell(runbook, revision, alerts, ready)

    def _now(self) -> datetime:
        return self.clock().replace(microsecond=0)

    async def _troubles(self, runbook: Runbook, compiled: Compiled) -> list[Trouble]:
        """Return what is not there or does not answer; without its account nothing can be asked."""
        namespace, account = runbook.metadata.namespace, runbook.spec.service_account_name
        absent = await missing.account(self.client, namespace, account)
        connections = await self._probe_all(runbook, absent)
        if absent:
            return [Trouble("AccountMissing", absent)]
        wanted = _workloads(compiled, namespace)
        found = await missing.workloads(self.client, ObjectKey(namespace, account), wanted)
        return [*(Trouble("TargetMissing", f"there is no {name} in {namespace}") for name in found), *connections]

    async def _probe_all(self, runbook: Runbook, absent: str) -> list[Trouble]:
        """Probe its Connections, and tell them; `absent` says that its account does not exist, so that none can be used."""
        troubles = []
        names = sorted(self.runbooks.connections_of(runbook.spec))
        if names:
            await self._learn_users(runbook.metadata.namespace)
        for name in names:
            found = Trouble("AccountMissing", absent) if absent else await self._probe(runbook, name)
            why = sanitize.text(found.told, _LINE_LIMIT) if found is not None else ""
            connection = ObjectKey(runbook.metadata.namespace, name)
            self.probe_results.note(connection, runbook.spec.service_account_name, why)
            await self._tell_connection(connection, self.users.accounts(connection))
            if found is not None:
                told = why if is_named(why, name) else f"Connection {name}: {why}"
                troubles.append(Trouble(found.reason, told))
        return troubles

    async def _probe(self, runbook: Runbook, name: str) -> Trouble | None:
        account, redactor = runbook.spec.service_account_name, Redactor()
        try:
            endpoint = await Teaching(self.connections, redactor).endpoint(runbook.metadata.namespace, name, account)
        except NoConnection as error:
            return Trouble("TargetMissing", error.message)
        except EndpointError as error:
            return Trouble(_NOT_READY, error.message)
        with redaction.in_logs(redactor):
            failure = await self.probes.probe(endpoint)
        return Trouble(_NOT_READY, redactor.masks.text(failure.message)) if failure is not None else None

    async def _tell(
        self, runbook: Runbook | Malformed, revision: str, alerts: str, ready: Condition, *, for_good: bool = False
    ) -> None:
        key = ObjectKey(runbook.metadata.namespace, runbook.metadata.name)
        last = self.counts.last(key, runbook.status.last_incident)
        wanted = RunbookStatus(
            observed_generation=runbook.metadata.generation,
            revision=revision or runbook.status.revision,
            alerts=alerts,
            message=ready.message,
            open_incidents=self.counts.open(key),
            last_incident=last,
            last=f"{last.phase} {last.at:%Y-%m-%dT%H:%M:%SZ}" if last else "",
            conditions=conditions.readiness(runbook.status.conditions, ready, for_good=for_good),
        )
        if wanted.to_json() == runbook.status.to_json():
            return
        _log.info(
            "Runbook checked", namespace=key.namespace, runbook=key.name, ready=ready.status, message=ready.message
        )
        await self.client.write_status(paths.runbooks(key.namespace, key.name, "status"), wanted.to_json())

    async def _tell_connection(self, key: ObjectKey, users: list[str]) -> None:
        try:
            stored = await self.client.get(paths.connections(*key))
            found = Connection.model_validate(stored)
        except kube.NotFound:
            self.probe_results.forget(key)
            return
        problem, generation = malformed(stored), found.metadata.generation
        failures = [problem] if problem else self.probe_results.failures(key, set(users))
        ready = _condition(failures, "Malformed" if problem else "ProbeFailed", self._now(), generation)
        told = conditions.readiness(found.status.conditions, ready, for_good=bool(problem))
        update = {"used_by": len(users), "observed_generation": generation, "conditions": told}
        wanted = found.status.model_copy(update=update)
        if wanted.to_json() != found.status.to_json():
            await self.client.write_status(paths.connections(*key, "status"), wanted.to_json())

    async def _tell_unused(self, runbook: ObjectKey, names: frozenset[str]) -> None:
        """Tell of Connections that a Runbook names no longer; of one that nobody names any more nothing is observed."""
        for name in sorted(names):
            key = ObjectKey(runbook.namespace, name)
            await self._learn_users(key.namespace)
            if users := self.users.accounts(key):
                await self._tell_connection(key, users)
                continue
            self.probe_results.forget(key)
            with suppress(kube.NotFound):
                nothing: dict[str, Any] = {"usedBy": 0, "observedGeneration": None, "conditions": []}
                await self.client.write_status(paths.connections(*key, "status"), nothing)

    async def _learn_users(self, namespace: str) -> None:
        """List a namespace's Runbooks, once: who uses what is kept up to date by their checks from then on."""
        async with self.users.listing[namespace]:
            if self.users.knows(namespace):
                return
            listed = [reading.runbook_of(item) async for item in self.client.list(paths.runbooks(namespace))]
            readable = (each for each in listed if isinstance(each, Runbook))
            self.users.learn(namespace, map(self._used, readable))

    def _used(self, runbook: Runbook) -> tuple[str, str, frozenset[str]]:
        named = self.runbooks.connections_of(runbook.spec)
        return runbook.metadata.name, runbook.spec.service_account_name, named


def _workloads(compiled: Compiled, namespace: str) -> Iterator[tuple[str, str]]:
    """Yield each Pod and workload that a step names, and its path."""
    for step in compiled.steps.values():
        parts = (step, step.undo, step.probe)
        for act in (part.act for part in parts if part is not None):
            name = act.action.workload(act.spec)
            if name is not None:
                yield name, workloads.path(namespace, name)


def _worst(troubles: Iterable[Trouble]) -> str:
    """Return the reason that is to be mended first."""
    found = {each.reason for each in troubles}
    return next((reason for reason in _WORST_FIRST if reason in found), _NOT_READY)


def _condition(failures: list[str], reason: str, now: datetime, generation: int, warning: str = "") -> Condition:
    """Return `Ready` of this generation; `reason` is why it is not, where there are failures."""
    told = _joined(failures) if failures else warning
    found = conditions.condition(
        READY, status=not failures, reason=reason if failures else "Ready", message=told, now=now
    )
    return found.model_copy(update={"observed_generation": generation})


def _joined(told: Iterable[str]) -> str:
    """Return all on one line, as far as it goes, for `kubectl get`; an excerpt of many lines is for `check`."""
    lines = [texts.cut(texts.visible(each.partition("\n")[0]), _LINE_LIMIT) for each in told]
    kept = list(lines)
    while len("; ".join(kept)) > _MESSAGE_LIMIT:
        kept.pop()
    more = len(lines) - len(kept)
    return "; ".join([*kept, f"and {more} more"] if more else kept)
