"""Every action there is, under the key that Runbooks use, with the clients that they share."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import datetime

from incident_operator.actions.exec import Exec
from incident_operator.actions.get import Get
from incident_operator.actions.http import Http
from incident_operator.actions.job import Job
from incident_operator.actions.logs import Logs
from incident_operator.actions.promql import Promql
from incident_operator.actions.protocol import Action
from incident_operator.actions.scale import Scale
from incident_operator.actions.sql_execute import SqlExecute
from incident_operator.actions.sql_query import SqlQuery
from incident_operator.clients.access import Access
from incident_operator.clients.cluster import Cluster
from incident_operator.clients.connections import Connections
from incident_operator.clients.exec import Commands
from incident_operator.clients.kube import Kube
from incident_operator.clients.probes import Probes
from incident_operator.clients.prometheus import Prometheus
from incident_operator.clients.redaction import Redactor
from incident_operator.clients.sql_sessions import Sessions


@dataclass(frozen=True, slots=True)
class Tools:
    """The actions by key, and what else speaks to Connections."""

    actions: Mapping[str, Action]
    connections: Connections
    probes: Probes


@asynccontextmanager
async def tools(
    access: Access, client: Kube, redactor: Redactor, clock: Callable[[], datetime]
) -> AsyncIterator[Tools]:
    """Open what the actions share for the block's time."""
    connections, sessions = Connections(client, redactor), Sessions()
    with closing(Prometheus()) as prometheus:
        async with Cluster(access) as cluster:
            actions: dict[str, Action] = {
                "logs": Logs(cluster),
                "get": Get(cluster),
                "promql": Promql(connections, prometheus),
                "http": Http(connections),
                "sqlQuery": SqlQuery(connections, sessions),
                "sqlExecute": SqlExecute(connections, sessions),
                "scale": Scale(cluster),
                "job": Job(cluster, clock),
                "exec": Exec(cluster, Commands(access)),
            }
            yield Tools(actions, connections, Probes(sessions, prometheus))
