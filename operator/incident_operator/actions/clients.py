"""Everything that the actions reach the world through, in one place: it is opened once, and handed to each of them."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from incident_operator.clients.connections import Connections, Finds, Teaching
from incident_operator.clients.helper_process import Counts
from incident_operator.clients.prometheus import Prometheus
from incident_operator.clients.queries import Queries, Reads
from incident_operator.clients.sql import Sessions
from incident_operator.core.action import Call
from incident_operator.core.redactor import Redactor
from incident_operator.kubernetes.access import Access
from incident_operator.kubernetes.accounts import Account, Cluster
from incident_operator.kubernetes.apiserver import Kube
from incident_operator.kubernetes.exec import Commands


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients that the actions share."""

    cluster: Cluster
    connections: Finds
    sessions: Sessions
    queries: Reads
    prometheus: Prometheus
    commands: Commands
    now: Callable[[], datetime]

    def account_of(self, call: Call[Any]) -> Account:
        """Return the cluster as the Runbook's account may see and change it, within the call's time."""
        return self.cluster.acting_as(call.namespace, call.service_account).within(call.timeout)

    def teaching(self, redactor: Redactor) -> "Clients":
        """Return the same clients, which teach a redactor each credential that they are given."""
        return replace(self, connections=Teaching(self.connections, redactor))


@asynccontextmanager
async def opened(access: Access, client: Kube, now: Callable[[], datetime], counts: Counts) -> AsyncIterator[Clients]:
    """Open them all for the block's time; `counts` is told how helper processes fare."""
    with closing(Prometheus()) as prometheus:
        async with Cluster(access) as cluster:
            sessions = Sessions()
            async with aclosing(Queries(sessions, counts=counts)) as queries:
                yield Clients(cluster, Connections(client), sessions, queries, prometheus, Commands(access), now)
