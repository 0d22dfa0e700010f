"""promql: an instant query. Effect: read."""

from typing import Any

from incident_operator.actions import results
from incident_operator.actions.clients import Clients
from incident_operator.api.actions import Promql
from incident_operator.clients import prometheus
from incident_operator.clients.connections import named
from incident_operator.clients.prometheus import Sample
from incident_operator.core.action import Action, Call
from incident_operator.core.effects import Effect
from incident_operator.core.outcomes import Outcome, Succeeded


async def read(call: Call[Promql], clients: Clients) -> Outcome:
    """Return {value, series, truncated}; `value` is that of the only series, else null. Raises `Failure`."""
    spec = call.spec
    query = prometheus.render(spec.query, spec.params)
    endpoint = await clients.connections.endpoint(call.namespace, spec.connection, call.service_account)
    with named(spec.connection):
        return _succeeded(await clients.prometheus.query(endpoint, query, call.timeout))


def _succeeded(samples: list[Sample]) -> Succeeded:
    rows: list[dict[str, Any]] = [{"labels": dict(sample.labels), "value": sample.value} for sample in samples]
    series, _ = results.fit(rows, results.RESULT_BYTES)
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


ACTION = Action(
    "promql", Promql, dict, effect=Effect.READ, rights="`get` of the Connection's Secret, where it names one", read=read
)
