"""Builds what takes alerts in: the handler that Alertmanager posts to, and the poll of its open alerts."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import structlog
from prometheus_client import CollectorRegistry

from incident_operator.clients.connections import Connections
from incident_operator.clients.kube import Kube
from incident_operator.inbox import Inbox
from incident_operator.receiver import server
from incident_operator.receiver.checking import LabelLimits
from incident_operator.receiver.intake import Intake
from incident_operator.receiver.metrics import ReceiverMetrics
from incident_operator.receiver.polling import AlertmanagerPoll
from incident_operator.receiver.settings import ReceiverSettings
from incident_operator.receiver.slots import PrioritySlots
from incident_operator.receiver.store import IncidentStore
from incident_operator.settings import Settings

_log = structlog.get_logger()


@asynccontextmanager
async def receiver(
    settings: Settings, client: Kube, inbox: Inbox, registry: CollectorRegistry, slots: PrioritySlots
) -> AsyncIterator[Intake | None]:
    """Receive alerts for the block's time; None where no token lets anybody in."""
    if not settings.token_files:
        _log.warning("No token file is set, so no alerts are received; Incidents can be opened by hand")
        yield None
        return
    chosen, metrics = _chosen(settings), ReceiverMetrics(registry)
    store = IncidentStore(client, inbox.incident_index, slots, inbox.incident)
    intake = Intake(
        store, inbox.incident_index, inbox.runbook_index, metrics, unmatched_namespace=chosen.unmatched_namespace
    )
    handler = server.WebhookHandler(chosen, intake, (inbox.incident_index, inbox.runbook_index), metrics)
    async with server.serving(handler, chosen) as port:
        _log.info("Receives alerts", address=chosen.host, port=port, path=chosen.path)
        yield intake


def alertmanager_poll(
    settings: Settings, client: Kube, connections: Connections, intake: Intake, clock: Callable[[], datetime]
) -> AlertmanagerPoll:
    """Return the poll of the open alerts of every Alertmanager that a Connection names."""
    chosen = _chosen(settings)
    limits = LabelLimits(chosen.max_labels, chosen.max_label_bytes)
    return AlertmanagerPoll(client, connections, intake, limits, clock, settings.namespaces)


def _chosen(settings: Settings) -> ReceiverSettings:
    return ReceiverSettings(
        token_files=settings.token_files,
        host=settings.webhook_address,
        port=settings.webhook_port,
        tls_certificate=settings.tls_cert,
        tls_key=settings.tls_key,
        unmatched_namespace=settings.unmatched_namespace,
    )
