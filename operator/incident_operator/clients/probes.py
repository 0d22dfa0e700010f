"""Asks an endpoint whether it is there and lets us in, for the Connection's and the Runbook's Ready condition."""

from dataclasses import dataclass
from typing import assert_never

from incident_operator.api.connection import ConnectionType
from incident_operator.clients import alertmanagers, http, http_requests
from incident_operator.clients.connections import Endpoint
from incident_operator.clients.http_requests import Request
from incident_operator.clients.prometheus import Prometheus
from incident_operator.clients.sql_sessions import Sessions
from incident_operator.core.errors import Failure, Unusable

PROBE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ProbeError:
    """The endpoint does not answer as it should; one line for people, without a secret."""

    message: str


class Probes:
    """Probes endpoints of every type."""

    def __init__(self, sessions: Sessions, prometheus: Prometheus) -> None:
        self._sessions = sessions
        self._prometheus = prometheus

    async def probe(self, endpoint: Endpoint) -> ProbeError | None:
        """Return None where the endpoint answers: a query, or for HTTP any status at all."""
        try:
            await self._answer(endpoint)
        except Failure as failure:
            return ProbeError(failure.message)
        return None

    async def _answer(self, endpoint: Endpoint) -> None:
        match endpoint.connection.spec.type:
            case ConnectionType.POSTGRES:
                async with self._sessions.open(endpoint, PROBE_SECONDS, read_only=True) as session:
                    await session.run("SELECT 1", {})
            case ConnectionType.HTTP:
                await _fetch(endpoint)
            case ConnectionType.PROMETHEUS:
                await self._prometheus.query(endpoint, "vector(1)", PROBE_SECONDS)
            case ConnectionType.ALERTMANAGER:
                await alertmanagers.check(endpoint, PROBE_SECONDS)
            case unknown:
                assert_never(unknown)


async def _fetch(endpoint: Endpoint) -> None:
    where = endpoint.connection.spec.http
    if where is None:
        raise Unusable(f'Connection "{endpoint.connection.metadata.name}" says type http, but has no http')
    url = http_requests.target(where.url, where.probe_path, {})
    await http.send(Request("GET", url), endpoint.secret, PROBE_SECONDS)
