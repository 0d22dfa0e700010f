"""promql: an instant query. Effect: read."""

from typing import Any

from incident_operator.actions import endpoint_failures, sql_results
from incident_operator.actions.protocol import Call, Preview, PreviewError
from incident_operator.api.actions import Promql as Spec
from incident_operator.clients import prometheus
from incident_operator.clients.connections import Connections, EndpointError
from incident_operator.clients.prometheus import Prometheus, PromqlError, Sample
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Outcome, Succeeded


class Promql:
    """Asks a Prometheus."""

    def __init__(self, connections: Connections, client: Prometheus) -> None:
        self._connections = connections
        self._client = client

    async def run(self, call: Call) -> Outcome:
        """Return {value, series, truncated}; `value` is that of the only series, else null."""
        spec = _spec(call)
        try:
            query = prometheus.render(spec.query, spec.params)
            endpoint = await self._connections.endpoint(call.namespace, spec.connection, call.service_account)
            samples = await self._client.query(endpoint, query, call.timeout)
        except KeyError as error:
            return Failed(reasons.BAD_REQUEST, _missing(error), retryable=False)
        except EndpointError as error:
            return endpoint_failures.failed(error)
        except PromqlError as error:
            reason = reasons.STATEMENT_FAILED if error.answered else reasons.CONNECTION_FAILED
            return Failed(reason, f"{spec.connection}: {error.message}", retryable=not error.answered)
        return _succeeded(samples)

    async def preview(self, call: Call) -> Preview:
        """Show the query as it will be sent. Raises `PreviewError`."""
        spec = _spec(call)
        try:
            return Preview(prometheus.render(spec.query, spec.params), {"connection": spec.connection})
        except KeyError as error:
            raise PreviewError(f"{call.step}: {_missing(error)}") from None


def _spec(call: Call) -> Spec:
    if not isinstance(call.spec, Spec):
        raise TypeError(f"not a promql: {call.action}")
    return call.spec


def _missing(error: KeyError) -> str:
    return f"query: %({error.args[0]})s is not among params"


def _succeeded(samples: list[Sample]) -> Succeeded:
    rows: list[dict[str, Any]] = [{"labels": dict(sample.labels), "value": sample.value} for sample in samples]
    series, _ = sql_results.fit(rows, sql_results.RESULT_BYTES)
    value = samples[0].value if len(samples) == 1 else None
    result = {"value": value, "series": series, "truncated": len(series) < len(rows)}
    return Succeeded(result, _summary(samples))


def _summary(samples: list[Sample]) -> str:
    match samples:
        case []:
            return "no series"
        case [only]:
            return f"value {only.value}"
        case _:
            return f"{len(samples)} series"
