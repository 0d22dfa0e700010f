"""Builds what takes alerts in: the handler that Alertmanager posts to, and the poll of its open alerts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog
from prometheus_client import CollectorRegistry

from incident_operator.clients import served
from incident_operator.clients.connections import Finds
from incident_operator.clients.kube import Kube
from incident_operator.clients.priority import Priority
from incident_operator.clients.redaction import Redactor
from incident_operator.clients.scopes import Scopes
from incident_operator.core.alerts.kept import LabelLimits
from incident_operator.inbox import Inbox
from incident_operator.receiver import server
from incident_operator.receiver.auth import TokenFiles, Tokens
from incident_operator.receiver.intake import Intake
from incident_operator.receiver.metrics import ReceiverMetrics
from incident_operator.receiver.polling import AlertmanagerPoll
from incident_operator.receiver.secret_tokens import SecretTokens
from incident_operator.receiver.settings import ReceiverSettings
from incident_operator.receiver.store import IncidentStore
from incident_operator.settings import Settings

_log = structlog.get_logger()


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
    await served.patiently(source.start, only=served.TOO_MANY)
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
    chosen, metrics = _chosen(settings), ReceiverMetrics(registry)
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


def _chosen(settings: Settings) -> ReceiverSettings:
    return ReceiverSettings(
        host=settings.webhook_address,
        port=settings.webhook_port,
        tls_certificate=settings.tls_cert,
        tls_key=settings.tls_key,
        unmatched_namespace=settings.unmatched_namespace,
        unmatched_ignore=settings.unmatched_ignore,
    )
