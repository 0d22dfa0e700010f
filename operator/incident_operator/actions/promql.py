"""promql: an instant query. Effect: read."""

from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

from pydantic import Field

from incident_operator.actions.clients import Clients
from incident_operator.actions.fields import Params, Statement
from incident_operator.api.meta import Model, ObjectName
from incident_operator.clients import prometheus
from incident_operator.clients.connections import named
from incident_operator.clients.prometheus import Sample
from incident_operator.core import results
from incident_operator.core.action import Action, Call, Connects
from incident_operator.core.effects import Effect
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.expressions.render_fields import Take
from incident_operator.core.outcomes import Outcome, Succeeded
from incident_operator.core.runbooks import compiler_statements


class Promql(Model):
    """Runs an instant query (effect: read)."""

    connection: Annotated[ObjectName, Connects("prometheus")]
    query: Statement
    """PromQL; `%(name)s` stands for a parameter and becomes a quoted string literal."""
    params: Annotated[Params, Take.NATIVE] = Field(default_factory=dict)


class Series(TypedDict):
    """One series of the answer."""

    labels: dict[str, str]
    value: float


class Result(TypedDict):
    """What `result` holds."""

    value: Annotated[float | None, "of the only series, else null"]
    series: Annotated[list[Series], "`labels`, `value`"]
    truncated: bool


def _check(spec: Promql, path: str) -> Iterator[Problem]:
    yield from compiler_statements.promql(f"{path}.query", spec.query, spec.params)


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


ACTION = Action("promql", Promql, Result, effect=Effect.READ, rights="get the Secret", checks=(_check,), read=read)
