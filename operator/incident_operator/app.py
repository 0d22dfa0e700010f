"""The composition root: builds every part from the settings and runs them until the process is told to stop."""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf
import structlog
from prometheus_client import CollectorRegistry

from incident_operator import handlers, health, logs
from incident_operator.actions import registry as action_registry
from incident_operator.clients import access as accesses
from incident_operator.clients import kube, paths
from incident_operator.clients.connections import Connections
from incident_operator.clients.reads import Reads
from incident_operator.clients.redaction import Redactor
from incident_operator.clients.state import State
from incident_operator.engine.acts import Acts
from incident_operator.engine.asking import Question
from incident_operator.engine.background import Background
from incident_operator.engine.carrier import Carrier
from incident_operator.engine.driver import Driver
from incident_operator.engine.echoes import Echoes
from incident_operator.engine.expiry import Expiry
from incident_operator.engine.keys import Key
from incident_operator.engine.metrics import EngineMetrics
from incident_operator.engine.policies import Policies
from incident_operator.engine.readiness import Readiness
from incident_operator.engine.recorder import Recorder
from incident_operator.engine.revisions import Revisions
from incident_operator.engine.runbooks import Runbooks
from incident_operator.engine.tally import Tally
from incident_operator.engine.visit import Visits
from incident_operator.feed import IncidentFeed
from incident_operator.inbox import Inbox
from incident_operator.receiver import server
from incident_operator.receiver.checking import LabelLimits
from incident_operator.receiver.index import IncidentIndex
from incident_operator.receiver.intake import Intake
from incident_operator.receiver.metrics import ReceiverMetrics
from incident_operator.receiver.rereading import Rereading
from incident_operator.receiver.runbooks import RunbookIndex
from incident_operator.receiver.settings import ReceiverSettings
from incident_operator.receiver.slots import PrioritySlots
from incident_operator.receiver.store import IncidentStore
from incident_operator.settings import Settings

_RECHECK_EVERY = timedelta(minutes=5)
"""How often a Runbook's Connections are probed when nothing else asks for it."""
_FINISH_SECONDS = 20.0
"""How long acts under way may take to end after SIGTERM; the Pod's grace period is longer."""
_DEAD_AFTER = timedelta(minutes=3)
"""The deadlines are looked at every minute at least; when they are not, the process is stuck."""
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs, once it is built."""

    inbox: Inbox
    feed: IncidentFeed
    expiry: Expiry
    kubernetes: accesses.Access
    client: kube.Kube
    ending: asyncio.Event
    """Set when the process is about to end."""
    rereading: Rereading | None
    """None where no alerts are received."""


def clock() -> datetime:
    """Return the time; the only clock that decisions ever see."""
    return datetime.now(UTC)  # noqa: TID251


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises what keeps it from starting."""
    redactor = Redactor()
    logs.configure(settings.log_format, redactor.clean)
    async with _built(settings, redactor) as parts:
        await _list_all(parts, settings.namespaces)
        await _until_told(parts, settings)


@asynccontextmanager
async def _built(settings: Settings, redactor: Redactor) -> AsyncIterator[Parts]:
    access = await accesses.load(settings.kubeconfig, settings.context)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(kube.Kube(access))
        identity = await _whoami(client)
        tools = await stack.enter_async_context(action_registry.tools(access, client, redactor, clock))
        registry, background, ending = CollectorRegistry(), Background(), asyncio.Event()
        stack.push_async_callback(background.drain)
        metrics, echoes, revisions, tally = EngineMetrics(registry), Echoes(), Revisions(client), Tally()
        runbooks, policies = Runbooks(client, revisions), Policies(client, identity)
        acts = Acts(tools.actions, redactor, clock)
        question = Question(acts, policies, lambda: secrets.token_hex(16))
        state = State(client, f"{settings.instance[:40]}-{secrets.token_hex(4)}")
        recorder = Recorder(state, client, echoes, metrics, background, settings.instance)
        carrier = Carrier(acts, question, recorder, metrics)
        visits = Visits(state, runbooks, question, carrier, recorder, clock, settings.unasked, ending.is_set)
        readiness = Readiness(client, runbooks, revisions, tools.connections, tools.probes, tally, clock)
        inbox = _inbox(visits, readiness, tally, echoes)
        reads = await stack.enter_async_context(Reads(access))
        feed = IncidentFeed(client, reads, inbox, settings.namespaces, clock)
        expiry = Expiry(client, reads, clock, settings.closed_ttl, settings.namespaces)
        metrics.watch_depth(lambda: inbox.incidents.depth)
        rereading = await stack.enter_async_context(_receiver(settings, client, inbox, registry, tools.connections))
        await stack.enter_async_context(_health(settings, inbox, registry))
        if missing := await policies.problem():
            _log.error("Approvals cannot be trusted", problem=missing)
        _log.info("Started", identity=identity, server=access.server, namespaces=settings.namespaces or "all")
        yield Parts(inbox, feed, expiry, access, client, ending, rereading)


def _inbox(visits: Visits, readiness: Readiness, tally: Tally, echoes: Echoes) -> Inbox:
    index = RunbookIndex()
    checks = Driver(_checking(readiness, index), clock, workers=2, what="Runbook")
    return Inbox(Driver(visits.visit, clock), checks, IncidentIndex(), index, tally, echoes)


def _checking(readiness: Readiness, index: RunbookIndex) -> Callable[[Key], Awaitable[datetime | None]]:
    async def check(key: Key) -> datetime | None:
        if await readiness.check(key):
            return clock() + _RECHECK_EVERY
        # its deletion may have happened while nobody watched
        index.forget({"metadata": {"namespace": key.namespace, "name": key.name}})
        return None

    return check


@asynccontextmanager
async def _receiver(
    settings: Settings, client: kube.Kube, inbox: Inbox, registry: CollectorRegistry, connections: Connections
) -> AsyncIterator[Rereading | None]:
    if not settings.token_files:
        _log.warning("No token file is set, so no alerts are received; Incidents can be opened by hand")
        yield None
        return
    chosen = ReceiverSettings(
        token_files=settings.token_files,
        host=settings.webhook_address,
        port=settings.webhook_port,
        tls_certificate=settings.tls_cert,
        tls_key=settings.tls_key,
        unmatched_namespace=settings.unmatched_namespace,
    )
    metrics = ReceiverMetrics(registry)
    store = IncidentStore(client, inbox.incident_index, PrioritySlots(chosen.max_writes), inbox.incident)
    intake = Intake(
        store, inbox.incident_index, inbox.runbook_index, metrics, unmatched_namespace=chosen.unmatched_namespace
    )
    door = server.Door(chosen, intake, (inbox.incident_index, inbox.runbook_index), metrics)
    async with server.serving(door, chosen) as port:
        _log.info("Receives alerts", address=chosen.host, port=port, path=chosen.path)
        limits = LabelLimits(chosen.max_labels, chosen.max_label_bytes)
        yield Rereading(client, connections, intake, limits, clock, settings.namespaces)


@asynccontextmanager
async def _health(settings: Settings, inbox: Inbox, registry: CollectorRegistry) -> AsyncIterator[None]:
    def ready() -> str:
        return "" if inbox.incident_index.ready and inbox.runbook_index.ready else "still reading what is stored"

    def alive() -> str:
        return "" if clock() - inbox.incidents.ticked_at < _DEAD_AFTER else "the engine is stuck"

    async with health.serving(settings.health_address, settings.health_port, registry, alive, ready):
        yield


async def _list_all(parts: Parts, namespaces: tuple[str, ...]) -> None:
    """Read everything once before alerts are judged; later changes come as events."""
    try:
        for namespace in namespaces or (None,):
            async for runbook in parts.client.list(paths.runbooks(namespace)):
                _take(parts.inbox.runbook, runbook)
        await parts.feed.start()
    except kube.NotFound as error:
        told = "the cluster does not serve Incidents and Runbooks; install their definitions: kubectl apply -f crds/"
        raise kube.NotFound(error.status, error.reason, told) from error
    parts.inbox.runbook_index.mark_ready()
    parts.inbox.incident_index.mark_ready()


def _take(note: Callable[[Mapping[str, Any]], None], body: Mapping[str, Any]) -> None:
    """Note an object; one that cannot be read must not keep the operator from serving the others."""
    try:
        note(body)
    except (ValueError, KeyError, TypeError) as error:
        meta = body["metadata"]
        told = " ".join(str(error).split())[:500]
        _log.error("Cannot be read, and is left alone", namespace=meta["namespace"], name=meta["name"], error=told)


async def _until_told(parts: Parts, settings: Settings) -> None:
    """Run the drivers and kopf; kopf ends on SIGTERM, and a driver that fails ends everything."""
    stop = asyncio.Event()
    runs = [parts.inbox.incidents.run, parts.inbox.runbooks.run, parts.feed.run, parts.expiry.run]
    if parts.rereading is not None:
        runs.append(parts.rereading.run)
    drivers = [asyncio.create_task(run()) for run in runs]
    for task in drivers:
        task.add_done_callback(lambda _: stop.set())
    watching = asyncio.create_task(_watch(parts, settings, stop))
    try:
        await asyncio.wait([watching, *drivers], return_when=asyncio.FIRST_COMPLETED)
        await _finish_acts(parts)
    finally:
        for task in (watching, *drivers):
            task.cancel()
        results = await asyncio.gather(watching, *drivers, return_exceptions=True)
    _raise_failure(results)


async def _watch(parts: Parts, settings: Settings, stop: asyncio.Event) -> None:
    registry = kopf.OperatorRegistry()
    handlers.register(registry, parts.inbox, parts.kubernetes)
    await kopf.operator(
        registry=registry,
        settings=handlers.settings(),
        standalone=True,
        # kopf's own default asks for a login name, which a container's user may lack; its type is not exported
        identity=settings.instance,  # type: ignore[arg-type]
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        stop_flag=stop,
    )


async def _finish_acts(parts: Parts) -> None:
    """Let acts under way end and be recorded; what takes longer, or a second signal, leaves them to the next process."""
    parts.ending.set()
    _log.info("Stopping: what is under way is finished first", seconds=_FINISH_SECONDS)
    hurried = asyncio.Event()
    for told in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(told, hurried.set)
    waiting = [asyncio.create_task(parts.inbox.incidents.idle()), asyncio.create_task(hurried.wait())]
    await asyncio.wait(waiting, timeout=_FINISH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def _raise_failure(results: list[BaseException | None]) -> None:
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result


async def _whoami(client: kube.Kube) -> str:
    """Return our own user name, as the admission policies see it."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = await client.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    except kube.NotFound as error:
        told = "the apiserver knows no SelfSubjectReview; Kubernetes 1.30 or newer is needed"
        raise kube.NotFound(error.status, error.reason, told) from error
    return str(answer["status"]["userInfo"]["username"])
