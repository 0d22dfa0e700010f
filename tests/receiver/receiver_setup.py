"""A receiver before an apiserver, with its index fed as a watch would feed it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from incident_operator.core.alerts.matching import AlertScope
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import Kube
from incident_operator.kubernetes.priority import Priority
from incident_operator.receiver.index import IncidentIndex
from incident_operator.receiver.intake import Intake, Receipt
from incident_operator.receiver.metrics import ReceiverMetrics
from incident_operator.receiver.refusals import GIVE_UP_SECONDS, Refusals
from incident_operator.receiver.routing import RunbookIndex
from incident_operator.receiver.store import IncidentStore
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.receiver import messages

EVERYWHERE = AlertScope(global_namespaces=frozenset({"prod", "oncall"}))
"""Runbooks of these namespaces take whatever they match; what is asked here is not whose an alert is."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One receiver: what it remembers is its own, what is stored is everybody's."""

    kube: Kube
    incidents: IncidentIndex
    runbooks: RunbookIndex
    metrics: ReceiverMetrics
    registry: CollectorRegistry
    intake: Intake

    async def take(self, *alerts: messages.Json, truncated: int = 0) -> Receipt:
        return await self.intake.take(messages.read(*alerts, truncated=truncated))

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"incident_operator_{name}", labels) or 0.0

    async def watch(self, namespace: str = "prod") -> None:
        """Let the index see everything, as a watch would in time."""
        async for stored in self.kube.list(discovery.incidents(namespace)):
            self.incidents.note(stored)


def replica(
    kube: Kube,
    *runbooks: messages.Json,
    unmatched_namespace: str | None = None,
    give_up_seconds: float = GIVE_UP_SECONDS,
    scope: AlertScope = EVERYWHERE,
) -> Replica:
    incidents, known, registry = IncidentIndex(), RunbookIndex(scope), CollectorRegistry()
    for each in runbooks or (messages.runbook(),):
        known.note(each)
    incidents.mark_ready()
    known.mark_ready()
    metrics = ReceiverMetrics(registry)
    store = IncidentStore(kube, incidents, Priority())
    refusals = Refusals(give_up_seconds)
    intake = Intake(store, incidents, known, metrics, unmatched_namespace=unmatched_namespace, refusals=refusals)
    return Replica(kube, incidents, known, metrics, registry, intake)


@dataclass(frozen=True, slots=True)
class Receivers:
    """The apiserver, and a receiver that just started."""

    api: FakeApiserver
    one: Replica

    def another(self, *runbooks: messages.Json) -> Replica:
        """A second replica, or the first after a restart: it remembers nothing."""
        return replica(self.one.kube, *runbooks)

    def incidents(self, namespace: str = "prod") -> list[Any]:
        return self.api.objects(discovery.incidents(namespace))

    def incident(self) -> Any:
        (only,) = self.incidents()
        return only

    def close(self, incident: Any, phase: str = "Resolved") -> None:
        self.api.put({**incident, "status": {"phase": phase}})

    @property
    def writes(self) -> list[str]:
        return [request.method for request in self.api.writes]


@asynccontextmanager
async def started(
    *runbooks: messages.Json, unmatched_namespace: str | None = None, scope: AlertScope = EVERYWHERE
) -> AsyncIterator[Receivers]:
    async with FakeApiserver() as api, Kube(api.access()) as kube:
        yield Receivers(api, replica(kube, *runbooks, unmatched_namespace=unmatched_namespace, scope=scope))
