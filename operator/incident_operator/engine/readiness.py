"""Whether a Runbook can be used: compiled, pinned, its Connections probed as its own account; told in `Ready`.

A Connection's one `Ready` tells of all accounts that use it, not of the last that tried. Whether approvals can be trusted right now is asked
here too: the admission policies are in place, unweakened, and refuse a forgery.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from incident_operator import policies
from incident_operator.actions import workloads
from incident_operator.api.connection import Connection
from incident_operator.api.incident import Incident, Verb
from incident_operator.api.meta import Condition, ObjectKey
from incident_operator.api.runbook import Runbook, RunbookStatus
from incident_operator.clients.connections import (
    EndpointError,
    Finds,
    NoConnection,
    Probes,
    Teaching,
    is_named,
    malformed,
)
from incident_operator.core import redactor as redactors
from incident_operator.core import sanitize, texts
from incident_operator.core.alerts.matching import AlertScope
from incident_operator.core.outcomes import Json
from incident_operator.core.redactor import Redactor
from incident_operator.core.runbooks import reading, reviews
from incident_operator.core.runbooks.advice import warnings_of
from incident_operator.core.runbooks.compiled import Compiled
from incident_operator.core.runbooks.reading import Malformed
from incident_operator.core.status import conditions
from incident_operator.engine.metrics import IncidentCounts
from incident_operator.engine.runbooks import Altered, Revisions, Runbooks
from incident_operator.engine.workers import MachineTurns
from incident_operator.kubernetes import apiserver, discovery
from incident_operator.kubernetes.discovery import missing_account, missing_workloads

_MATCH_DEFAULTS = {"matchPolicy": "Equivalent"}
_RULE_DEFAULTS = {"scope": "*"}
_SPEC_DEFAULTS = {"failurePolicy": "Fail"}


def weakened(live: Json | None, expected: Json) -> str | None:
    """Return how a live policy or binding differs from the expected one, in one line for people; None where it does not.

    Any difference of spec counts: an exemption, a looser expression, a binding that only warns. Defaults that the
    apiserver fills in, and empty values, do not count as a difference.
    """
    name = f"{expected['kind']} {expected['metadata']['name']}"
    if live is None:
        return f"{name} is missing"
    found = _difference(_plain(live.get("spec")), _plain(expected["spec"]), "spec")
    return f"{name}: {found}" if found else None


def _plain(node: Json) -> Json:
    """Return a spec without what says nothing: empty values and the apiserver's own defaults."""
    if isinstance(node, Mapping):
        kept = {key: _plain(value) for key, value in node.items() if not _is_default(key, value)}
        return {key: value for key, value in kept.items() if not _is_empty(value)}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    return node


def _is_default(key: str, value: Json) -> bool:
    defaults = {**_SPEC_DEFAULTS, **_MATCH_DEFAULTS, **_RULE_DEFAULTS}
    return key in defaults and defaults[key] == value


def _is_empty(value: Json) -> bool:
    return value is None or value in ({}, [], "")


def _difference(live: Json, expected: Json, path: str) -> str | None:
    """Return the first place where the two differ, in words."""
    if isinstance(live, Mapping) and isinstance(expected, Mapping):
        return _first(_difference_at(live, expected, key, path) for key in sorted({*live, *expected}))
    if isinstance(live, list) and isinstance(expected, list) and len(live) == len(expected):
        pairs = enumerate(zip(live, expected, strict=True))
        return _first(_difference(ours, theirs, f"{path}[{index}]") for index, (ours, theirs) in pairs)
    return None if live == expected else f"{path} is not what this operator ships"


def _difference_at(live: Json, expected: Json, key: str, path: str) -> str | None:
    if key not in expected:
        return f"{path}.{key} was added"
    if key not in live:
        return f"{path}.{key} was taken away"
    return _difference(live[key], expected[key], f"{path}.{key}")


def _first(found: Any) -> str | None:
    return next((difference for difference in found if difference), None)


_FORGER = "nobody-who-approved"
_HOW_TO_MEND = "approvals cannot be trusted, so destructive steps stop. To fix it: helm upgrade incident-operator, or kubectl apply -f crds/"


@dataclass(frozen=True, slots=True)
class Policies:
    """Checks the shipped policies on the live apiserver. `operator` is our own user name."""

    client: apiserver.Kube
    operator: str

    async def problem(self, incident: Incident | None = None, plan_hash: str = "") -> str:
        """Return why approvals cannot be trusted, for people; empty where they can.

        With an Incident, a forged approval of its plan is also tried, as a dry run: it has to be refused.
        Raises `kube.Unavailable` where the apiserver does not answer.
        """
        for guard in policies.guards(self.operator):
            try:
                found = weakened(await self._get(guard.path), guard.manifest)
            except apiserver.Forbidden as error:
                found = f"the admission policies cannot be read ({error})"
            if found:
                return f"{found}: {_HOW_TO_MEND}"
        if incident is not None and not await self._refuses_forgery(incident, plan_hash):
            return f"a forged approval was not refused: {_HOW_TO_MEND}"
        return ""

    async def _get(self, path: str) -> Json | None:
        try:
            return await self.client.get(path)
        except apiserver.NotFound:
            return None

    async def _refuses_forgery(self, incident: Incident, plan_hash: str) -> bool:
        forged = {"metadata": {"annotations": {Verb.APPROVE.annotation: f"{plan_hash[:12]} {_FORGER}"}}}
        meta = incident.metadata
        try:
            await self.client.merge_patch(discovery.incidents(meta.namespace, meta.name), forged, dry_run=True)
        except (apiserver.Forbidden, apiserver.Invalid) as refusal:
            return "ValidatingAdmissionPolicy" in str(refusal)
        return False


class ConnectionUsers:
    """Remembers which Connections each Runbook names, and its account, so that a namespace's Runbooks are listed once."""

    def __init__(self) -> None:
        self._by_runbook: defaultdict[str, dict[str, tuple[str, frozenset[str]]]] = defaultdict(dict)
        """By namespace and Runbook."""
        self._listed: set[str] = set()
        """Namespaces all of whose Runbooks are known."""
        self.listing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held for a namespace while its Runbooks are listed."""

    def knows(self, namespace: str) -> bool:
        """Whether all Runbooks of a namespace are known."""
        return namespace in self._listed

    def learn(self, namespace: str, listed: Iterable[tuple[str, str, frozenset[str]]]) -> None:
        """Remember all Runbooks of a namespace: name, service account, and the Connections that it names.

        What was noted while they were listed is newer, and stays.
        """
        for name, account, names in listed:
            self._by_runbook[namespace].setdefault(name, (account, names))
        self._listed.add(namespace)

    def note(self, runbook: ObjectKey, account: str, names: frozenset[str]) -> frozenset[str]:
        """Remember a Runbook as it is now; return the Connections that it named before, and does not any more."""
        before = self.forget(runbook)
        self._by_runbook[runbook.namespace][runbook.name] = (account, names)
        return before - names

    def forget(self, runbook: ObjectKey) -> frozenset[str]:
        """Drop a Runbook that is gone, or cannot be read; return the Connections that it named."""
        _, names = self._by_runbook[runbook.namespace].pop(runbook.name, ("", frozenset[str]()))
        return names

    def accounts(self, connection: ObjectKey) -> list[str]:
        """Return the service account of each Runbook that names a Connection."""
        runbooks = self._by_runbook[connection.namespace].values()
        return [account for account, names in runbooks if connection.name in names]


class ProbeResults:
    """Remembers, by Connection and service account, why it could not be used; empty texts where it could."""

    def __init__(self) -> None:
        self._found: dict[ObjectKey, dict[str, str]] = {}

    def note(self, connection: ObjectKey, account: str, why: str) -> None:
        """Remember what an account met just now."""
        self._found.setdefault(connection, {})[account] = why

    def failures(self, connection: ObjectKey, accounts: Collection[str]) -> list[str]:
        """Return what the accounts met, each failure once; accounts that use it no longer are forgotten."""
        met = {account: why for account, why in self._found.get(connection, {}).items() if account in accounts}
        self._found[connection] = met
        return sorted({why for why in met.values() if why})

    def forget(self, connection: ObjectKey) -> None:
        """Drop a Connection that is gone."""
        self._found.pop(connection, None)


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

    client: apiserver.Kube
    runbooks: Runbooks
    revisions: Revisions
    connections: Finds
    probes: Probes
    counts: IncidentCounts
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
        told = [reviews.warning(runbook), restricted, *(f"Warning: {each}" for each in warnings_of(compiled))]
        warning = _joined(filter(None, told))
        generation = runbook.metadata.generation
        reasons = {each.reason for each in troubles}
        worst = next((reason for reason in _WORST_FIRST if reason in reasons), _NOT_READY)
        ready = _condition([each.told for each in troubles], worst, self._now(), generation, warning)
        await self._tell(runbook, revision, alerts, ready)

    def _now(self) -> datetime:
        return self.clock().replace(microsecond=0)

    async def _troubles(self, runbook: Runbook, compiled: Compiled) -> list[Trouble]:
        """Return what is not there or does not answer; without its account nothing can be asked."""
        namespace, account = runbook.metadata.namespace, runbook.spec.service_account_name
        absent = await missing_account(self.client, namespace, account)
        connections = await self._probe_all(runbook, absent)
        if absent:
            return [Trouble("AccountMissing", absent)]
        wanted = _workloads(compiled, namespace)
        found = await missing_workloads(self.client, ObjectKey(namespace, account), wanted)
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
        with redactors.in_logs(redactor):
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
        await self.client.write_status(discovery.runbooks(key.namespace, key.name, "status"), wanted.to_json())

    async def _tell_connection(self, key: ObjectKey, users: list[str]) -> None:
        try:
            stored = await self.client.get(discovery.connections(*key))
            found = Connection.model_validate(stored)
        except apiserver.NotFound:
            self.probe_results.forget(key)
            return
        problem, generation = malformed(stored), found.metadata.generation
        failures = [problem] if problem else self.probe_results.failures(key, set(users))
        ready = _condition(failures, "Malformed" if problem else "ProbeFailed", self._now(), generation)
        told = conditions.readiness(found.status.conditions, ready, for_good=bool(problem))
        update = {"used_by": len(users), "observed_generation": generation, "conditions": told}
        wanted = found.status.model_copy(update=update)
        if wanted.to_json() != found.status.to_json():
            await self.client.write_status(discovery.connections(*key, "status"), wanted.to_json())

    async def _tell_unused(self, runbook: ObjectKey, names: frozenset[str]) -> None:
        """Tell of Connections that a Runbook names no longer; of one that nobody names any more nothing is observed."""
        for name in sorted(names):
            key = ObjectKey(runbook.namespace, name)
            await self._learn_users(key.namespace)
            if users := self.users.accounts(key):
                await self._tell_connection(key, users)
                continue
            self.probe_results.forget(key)
            with suppress(apiserver.NotFound):
                nothing: dict[str, Any] = {"usedBy": 0, "observedGeneration": None, "conditions": []}
                await self.client.write_status(discovery.connections(*key, "status"), nothing)

    async def _learn_users(self, namespace: str) -> None:
        """List a namespace's Runbooks, once: who uses what is kept up to date by their checks from then on."""
        async with self.users.listing[namespace]:
            if self.users.knows(namespace):
                return
            listed = [reading.runbook_of(item) async for item in self.client.list(discovery.runbooks(namespace))]
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
