"""Asks an endpoint whether it is there and lets us in, for the Connection's and the Runbook's Ready condition.

What is asked is declared with the type (`connections/`); how, is here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from incident_operator import connections
from incident_operator.clients import credential_hints, http, http_requests
from incident_operator.clients.endpoint import Endpoint
from incident_operator.clients.http_requests import Request
from incident_operator.clients.prometheus import Prometheus
from incident_operator.clients.queries import Query, Reads
from incident_operator.core.errors import Failure, Unusable

PROBE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ProbeError:
    """The endpoint does not answer as it should; one line for people, without a secret."""

    message: str


class Probes:
    """Probes endpoints of every type."""

    def __init__(self, queries: Reads, prometheus: Prometheus) -> None:
        self._queries = queries
        self._prometheus = prometheus

    async def probe(self, endpoint: Endpoint) -> ProbeError | None:
        """Return None where the endpoint answers: a query, or for HTTP any status at all."""
        spec = endpoint.connection.spec
        declared = connections.named(spec.type)
        where = declared.of(spec) if declared is not None else None
        if declared is None or where is None:
            return ProbeError(
                f'Connection "{endpoint.connection.metadata.name}" is of type {spec.type} and does not say where it leads'
            )
        try:
            await declared.probe(where, _Asking(endpoint, self._queries, self._prometheus))
        except Failure as failure:
            return ProbeError(failure.message)
        return None


@dataclass(frozen=True, slots=True)
class _Asking:
    """What a probe may do: `connections.declaration.Asking`."""

    endpoint: Endpoint
    queries: Reads
    prometheus: Prometheus

    async def sql(self, statement: str) -> None:
        await self.queries.read(Query(self.endpoint, statement, {}, 1, PROBE_SECONDS))

    async def promql(self, query: str) -> None:
        await self.prometheus.query(self.endpoint, query, PROBE_SECONDS)

    async def get(self, base: str, path: str, *, ok: bool = False, headers: Mapping[str, str] | None = None) -> None:
        http_requests.check_headers(headers or {}, "a Connection")
        request = Request("GET", http_requests.target(base, path, {}), headers or {})
        reply = await http.send(request, self.endpoint.secret, PROBE_SECONDS)
        hint = credential_hints.of_status(self.endpoint.secret, reply.status)
        if hint or (ok and reply.status != 200):
            raise Unusable(f"{base}: GET {path} was answered with {reply.status}{hint}")
