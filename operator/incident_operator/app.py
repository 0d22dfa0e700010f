"""The composition root: builds every part from the settings, reads what is stored, and has it all run.

What every part is built from (`Base`), then the engine, then the receiver, then what a process shows of itself and watches.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from prometheus_client import CollectorRegistry

from incident_operator import health, logs, process
from incident_operator.actions import ACTIONS, clients
from incident_operator.api.meta import ObjectKey
from incident_operator.clients.connections import Finds, Probes
from incident_operator.clients.evaluations import Evaluations
from incident_operator.core import redactor
from incident_operator.core.action import KEY_BYTES, Markers
from incident_operator.core.alerts.received_alerts import LabelLimits
from incident_operator.core.redactor import Redactor
from incident_operator.core.runbooks import compiler
from incident_operator.core.status import report
from incident_operator.engine.calls import Redactors
from incident_operator.engine.executor import Executor, InFlight, OpenTargets
from incident_operator.engine.expiry import Expiry
from incident_operator.engine.leader_election import LeaderCallbacks, LeaderElector, LeaseConfig
from incident_operator.engine.metrics import EngineMetrics, IncidentCounts
from incident_operator.engine.readiness import Policies, Readiness
from incident_operator.engine.reconciler import Reconciler
from incident_operator.engine.recorder import Expectations, Recorder
from incident_operator.engine.runbooks import Revisions, Runbooks
from incident_operator.engine.work_queue import Background, SteadyClock, WorkQueue, steady
from incident_operator.engine.workers import MachineTurns, Workers
from incident_operator.informers import Inbox, IncidentInformer, RunbookInformer
from incident_operator.kubernetes import access as accesses
from incident_operator.kubernetes import apiserver, discovery
from incident_operator.kubernetes.access import Access
from incident_operator.kubernetes.apiserver import Kube, Reads
from incident_operator.kubernetes.discovery import Scopes
from incident_operator.kubernetes.fair_shares import FairThreads
from incident_operator.kubernetes.priority import LOOKUPS, Priority
from incident_operator.kubernetes.state import TOO_MANY, SecretError, State, made_once, patiently, wait_until_served
from incident_operator.process import Parts
from incident_operator.receiver import server
from incident_operator.receiver.auth import SecretTokens, TokenFiles, Tokens
from incident_operator.receiver.index import IncidentIndex
from incident_operator.receiver.intake import Intake
from incident_operator.receiver.metrics import ReceiverMetrics
from incident_operator.receiver.polling import AlertmanagerPoll
from incident_operator.receiver.routing import RunbookIndex
from incident_operator.receiver.server import ReceiverSettings
from incident_operator.receiver.store import IncidentStore
from incident_operator.settings import Settings

_RECHECK_EVERY = timedelta(minutes=5)
"""How often a Runbook's Connections are probed when nothing else asks for it."""
_DEAD_AFTER = 180.0
"""Seconds. The deadlines are looked at every minute at least; when they are not, the process is stuck."""
_LIST_THEM = "list the namespaces of your Runbooks: `namespaces` of the chart, or INCIDENT_OPERATOR_NAMESPACES"
_compile = partial(compiler.compile_runbook, actions=ACTIONS)
_log = structlog.get_logger()


def clock() -> datetime:
    """Return the time of this machine, which a process asks once: decisions see the `SteadyClock` that begins there."""
    return datetime.now(UTC)  # noqa: TID251


async def run(settings: Settings, at_end: Callable[[], None] = lambda: None) -> None:
    """Run until SIGTERM or SIGINT; `at_end` is called once it begins to end. Raises what keeps it from running."""
    own = Redactor()
    logs.configure(settings.log_format, redactor.for_logs(own))
    async with _built(settings, own) as parts:
        await wait_until_served(parts.client)
        await patiently(lambda: _list_all(parts))
        await process.run(parts, settings, at_end)


@dataclass(frozen=True, slots=True)
class Base:
    """What every part is built from."""

    settings: Settings
    """As they hold: nobody would go on with Incidents of a namespace that is not served."""
    access: Access
    client: Kube
    now: SteadyClock
    identity: str
    """Our own user name."""
    namespaces: Scopes
    """Those that are served."""
    namespace: str
    """Of the Lease and of the operator's own Secrets."""
    registry: CollectorRegistry
    helpers: health.HelperMetrics
    priority: Priority


@dataclass(frozen=True, slots=True)
class Engine:
    """What works on Incidents and checks Runbooks."""

    inbox: Inbox
    elector: LeaderElector
    leadership: LeaderCallbacks
    in_flight: InFlight
    policies: Policies
    ending: asyncio.Event
    """Set when the process is about to end: nothing is begun any more."""
    connections: Finds


@asynccontextmanager
async def _built(settings: Settings, own: Redactor) -> AsyncIterator[Parts]:
    async with AsyncExitStack() as stack:
        base = await _base(stack, settings, own)
        engine = await _engine(stack, base)
        settings, inbox = base.settings, engine.inbox
        reads = await stack.enter_async_context(Reads(base.access))
        expiry = Expiry(base.client, reads, base.now, settings.closed_ttl, base.namespaces, engine.elector.may_act)
        source = Source(engine.connections, base.now, base.namespaces)
        received = await stack.enter_async_context(
            receiver(settings, base.client, base.namespace, inbox, base.registry, base.priority, own, source)
        )
        # what the leader alone does beside reconciling
        engine.leadership.callbacks.append(expiry.run)
        if received is not None and received.poll is not None:
            engine.leadership.callbacks.append(received.poll.run)
        await stack.enter_async_context(_health(settings, inbox, base.registry))
        _tell_start(base, settings.unasked_problem, await engine.policies.problem())
        yield Parts(
            inbox,
            RunbookInformer(reads, inbox, base.namespaces),
            IncidentInformer(base.client, reads, inbox, base.namespaces, base.now),
            base.access,
            base.client,
            engine.ending,
            engine.elector,
            engine.in_flight,
            base.namespaces,
        )


async def _base(stack: AsyncExitStack, settings: Settings, own: Redactor) -> Base:
    """Find the apiserver, ask who we are, and what is served."""
    access = await accesses.load(settings.kubeconfig, settings.context)
    access.credentials.teach(partial(own.learn_own, "apiserver"))
    asyncio.get_running_loop().set_default_executor(FairThreads(LOOKUPS, "shared"))
    now = SteadyClock(clock)
    client = await stack.enter_async_context(Kube(access, dated=now.hear))
    identity = await patiently(lambda: _whoami(client), only=TOO_MANY)
    namespaces = await patiently(lambda: discovery.served(client, settings.namespaces), only=TOO_MANY)
    registry = health.registry()
    return Base(
        settings if namespaces else replace(settings, unmatched_namespace=None),
        access,
        client,
        now,
        identity,
        namespaces,
        settings.lease_namespace or access.namespace,
        registry,
        health.HelperMetrics(registry),
        Priority(settings.alert_scope.ceilings),
    )


async def _engine(stack: AsyncExitStack, base: Base) -> Engine:
    """Build what works on Incidents and checks Runbooks. Its queues are paused until this process leads."""
    settings, client, now, scope = base.settings, base.client, base.now, base.settings.alert_scope
    me, ending = f"{settings.instance[:40]}-{secrets.token_hex(4)}", asyncio.Event()
    markers = await _markers(client, base.namespace, settings.lease_name)
    metrics, tools = (
        EngineMetrics(base.registry),
        await stack.enter_async_context(clients.opened(base.access, client, now, base.helpers)),
    )
    background = Background(base.priority)
    stack.push_async_callback(background.drain)

    leadership = LeaderCallbacks()
    lease = LeaseConfig(base.namespace, settings.lease_name, settings.lease_seconds, me)
    elector = LeaderElector(client, lease, now, leadership)
    metrics.watch_leader(elector.may_act)

    expectations, revisions, counts = Expectations(), Revisions(client), IncidentCounts()
    index, policies, in_flight = RunbookIndex(scope), Policies(client, base.identity), InFlight()
    runbooks = Runbooks(client, revisions, ACTIONS, _compile, index.elsewhere)
    state = State(client, me)
    recorder = Recorder(state, client, expectations, metrics, background, settings.instance, report.markdown)
    workers = Workers(base.priority, must_yield=lambda: base.priority.must_yield)
    turns = MachineTurns(stack.enter_context(closing(Evaluations(counts=base.helpers))))
    executor = Executor(
        {action.key: action for action in ACTIONS},
        markers,
        policies,
        recorder,
        metrics,
        Redactors(tools, ACTIONS, now),
        in_flight,
        now,
        nonce=partial(secrets.token_hex, 16),
        may_act=elector.may_act,
        workers=workers,
        turns=turns,
    )

    def stopping() -> bool:
        return ending.is_set() or not elector.may_act()

    targets = OpenTargets(counts.is_open)
    may = (now, settings.leave, stopping, elector.led_for, scope)
    reconciler = Reconciler(state, runbooks, executor, recorder, *may, open_targets=targets)
    probes = Probes(tools.queries, tools.prometheus)
    usable = (tools.connections, probes, counts, now, index.over_budget, scope)
    readiness = Readiness(client, runbooks, revisions, *usable, turns=turns)
    incidents = WorkQueue(reconciler.reconcile, now, workers, paused=True)
    checks = WorkQueue(_checking(readiness, index), now, Workers(size=2), what="Runbook", paused=True)
    leadership.queues += (incidents, checks)
    metrics.watch_depth(lambda: incidents.depth)
    shared = (counts, expectations, in_flight, readiness.users)
    inbox = Inbox(incidents, checks, IncidentIndex(), index, *shared)
    return Engine(inbox, elector, leadership, in_flight, policies, ending, tools.connections)


def _tell_start(base: Base, unasked_problem: str, policies_problem: str) -> None:
    if unasked_problem:
        _log.error("Every step asks", problem=unasked_problem)
    if policies_problem:
        _log.error("Approvals cannot be trusted", problem=policies_problem)
    told = "all" if base.namespaces == discovery.EVERYWHERE else base.namespaces
    _log.info("Started", identity=base.identity, server=base.access.server, namespaces=told)
    if not base.namespaces:
        why = f"{base.identity} may not create Incidents in every namespace, and none is named"
        _log.error("No namespace is served, and no alert becomes an Incident", problem=why, remedy=_LIST_THEM)


def _checking(readiness: Readiness, index: RunbookIndex) -> Callable[[ObjectKey], Awaitable[datetime | None]]:
    async def check(key: ObjectKey) -> datetime | None:
        if await readiness.check(key):
            return readiness.clock() + _RECHECK_EVERY
        # its deletion may have happened while nobody watched
        index.forget({"metadata": {"namespace": key.namespace, "name": key.name}})
        return None

    return check


async def _markers(client: Kube, namespace: str, lease: str) -> Markers:
    """Read the key that all replicas share; whoever starts first has made it."""
    name, key = f"{lease}-markers", secrets.token_bytes(KEY_BYTES)

    async def made() -> Markers:
        held = await made_once(client, namespace, name, {"key": key})
        return Markers(held["key"])

    try:
        return await patiently(made, only=TOO_MANY)
    except ValueError as error:
        raise SecretError(f"Secret {namespace}/{name}: {error}") from error


@asynccontextmanager
async def _health(settings: Settings, inbox: Inbox, registry: CollectorRegistry) -> AsyncIterator[None]:
    def ready() -> str:
        return (
            "" if inbox.incident_index.ready and inbox.runbook_index.ready else "still reading Runbooks and Incidents"
        )

    def alive() -> str:
        return "" if steady() - inbox.incidents.ticked_at < _DEAD_AFTER else "the engine is stuck"

    async with health.serving(settings.health_address, settings.health_port, registry, alive, ready):
        yield


async def _list_all(parts: Parts) -> None:
    """Read everything once before alerts are judged; later changes come as events."""
    try:
        await parts.runbook_informer.start()
        await parts.incident_informer.start()
    except apiserver.NotFound as error:
        told = "the cluster does not serve Incidents and Runbooks; install their definitions: kubectl apply -f crds/"
        raise apiserver.NotFound(error.status, error.status_reason, told) from error
    parts.inbox.runbook_index.mark_ready()
    parts.inbox.incident_index.mark_ready()


async def _whoami(client: Kube) -> str:
    """Return our own user name, as the admission policies see it."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = await client.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    except apiserver.NotFound as error:
        told = "the apiserver knows no SelfSubjectReview; Kubernetes 1.30 or newer is needed"
        raise apiserver.NotFound(error.status, error.status_reason, told) from error
    return str(answer["status"]["userInfo"]["username"])


@dataclass(frozen=True, slots=True)
class Source:
    """What Alertmanagers are read again with: the Connections of these namespaces."""

    connections: Finds
    clock: Callable[[], datetime]
    namespaces: Scopes


@dataclass(frozen=True, slots=True)
class Receiving:
    """What takes alerts in."""

    intake: Intake
    poll: AlertmanagerPoll | None
    """Of the open alerts; for the process that leads to run, and for any to read the rest of a long message. None without a source."""


@asynccontextmanager
async def receiver(
    settings: Settings,
    client: Kube,
    namespace: str,
    inbox: Inbox,
    registry: CollectorRegistry,
    priority: Priority,
    own: Redactor,
    source: Source | None = None,
) -> AsyncIterator[Receiving | None]:
    """Receive alerts for the block's time; None where no token lets anybody in. `namespace` is the operator's own.

    `own` learns the tokens, which are credentials of the operator itself. `source` is what Alertmanagers are read again with.

    Raises `TokenError`, `CertificateError`, `ApiError`, or `OSError`: why nobody could post.
    """
    async with _tokens(settings, client, namespace, partial(own.learn_own, "webhook")) as tokens:
        if tokens is None:
            _log.warning("No token is set, so no alerts are received; Incidents can be opened by hand")
            yield None
            return
        async with _open(settings, client, inbox, registry, priority, tokens, source) as receiving:
            yield receiving


@asynccontextmanager
async def _tokens(
    settings: Settings, client: Kube, namespace: str, learn: Callable[[str], None]
) -> AsyncIterator[Tokens | None]:
    if settings.token_secret is None:
        yield Tokens(TokenFiles(settings.token_files), learn) if settings.token_files else None
        return
    source = SecretTokens(client, namespace, settings.token_secret, settings.token_keys)
    await patiently(source.start, only=TOO_MANY)
    looking = asyncio.create_task(source.run())
    try:
        yield Tokens(source, learn)
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


@asynccontextmanager
async def _open(
    settings: Settings,
    client: Kube,
    inbox: Inbox,
    registry: CollectorRegistry,
    priority: Priority,
    tokens: Tokens,
    source: Source | None,
) -> AsyncIterator[Receiving]:
    chosen = ReceiverSettings(
        host=settings.webhook_address,
        port=settings.webhook_port,
        tls_certificate=settings.tls_cert,
        tls_key=settings.tls_key,
        unmatched_namespace=settings.unmatched_namespace,
        unmatched_ignore=settings.unmatched_ignore,
    )
    metrics = ReceiverMetrics(registry)
    metrics.watch_writes(priority.writes)
    store = IncidentStore(client, inbox.incident_index, priority, inbox.incident)
    intake = Intake(
        store,
        inbox.incident_index,
        inbox.runbook_index,
        metrics,
        unmatched_namespace=chosen.unmatched_namespace,
        ignore=chosen.unmatched_ignore,
    )
    limits = LabelLimits(chosen.max_labels, chosen.max_label_bytes)
    poll = (
        AlertmanagerPoll(client, source.connections, intake, limits, source.clock, source.namespaces, priority)
        if source
        else None
    )
    needed = (inbox.incident_index, inbox.runbook_index)
    handler = server.WebhookHandler(chosen, intake, needed, metrics, tokens, poll)
    async with server.serving(handler, chosen) as port:
        _log.info("Receives alerts", address=chosen.host, port=port, path=chosen.path)
        yield Receiving(intake, poll)
