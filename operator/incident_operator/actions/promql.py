"""promql: an instant query. Effect: read."""

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from pydantic import Field

from incident_operator.actions.clients import Clients
from incident_operator.api.meta import Model, ObjectName
from incident_operator.clients import prometheus
from incident_operator.clients.connections import named
from incident_operator.clients.prometheus import Answer, Sample
from incident_operator.core import action, reasons
from incident_operator.core.action import Action, Call, Connects, Params, Statement
from incident_operator.core.expressions.cel import Problem
from incident_operator.core.expressions.templates import Take
from incident_operator.core.outcomes import Doubt, Effect, Failed, Outcome, Succeeded
from incident_operator.core.runbooks import untrusted


class Promql(Model):
    """Runs an instant query (effect: read)."""

    connection: Annotated[ObjectName, Connects("prometheus")]
    """A Connection of type prometheus."""
    query: Statement
    """PromQL; `%(name)s` stands for a parameter and becomes a quoted string literal."""
    params: Annotated[Params, Take.NATIVE] = Field(default_factory=dict)
    """Values for `%(name)s` in the query."""
    warnings: Literal["fail", "tell"] | None = None
    """What warnings beside the answer mean, e.g. that a store did not answer: that the step fails, or that they are only shown.

    The default: they fail a step of `verify` whose `expect` does not look at `result.warnings`, and are only shown otherwise.
    """


class Histogram(TypedDict):
    """Of a native histogram; `histogram_quantile` and its like make a number of one."""

    count: float
    sum: float


class Series(TypedDict):
    """One series of the answer."""

    labels: dict[str, str]
    value: float | None
    histogram: NotRequired[Histogram]


class Result(TypedDict):
    """What `result` holds."""

    value: Annotated[float | None, "of the only series, else null"]
    series: Annotated[list[Series], "`labels`, `value`; of a native histogram `histogram` with `count` and `sum`"]
    warnings: Annotated[list[str], "what the answer lacks"]
    infos: Annotated[list[str], "what is odd in the query"]
    truncated: bool


def _check(spec: Promql, path: str) -> Iterator[Problem]:
    yield from untrusted.promql(f"{path}.query", spec.query, spec.params)


async def read(call: Call[Promql], clients: Clients) -> Outcome:
    """Return {value, series, warnings, infos, truncated}; `value` is that of the only series, else null. Raises `Failure`."""
    spec = call.spec
    query = prometheus.render(spec.query, spec.params)
    endpoint = await clients.connections.endpoint(call.namespace, spec.connection, call.service_account)
    with named(spec.connection):
        answer = await clients.prometheus.query(endpoint, query, call.timeout)
    told = _summary(answer)
    if spec.warnings == "fail" and answer.warnings:
        return Failed(reasons.EXPECTATION_FAILED, told, retryable=True, result=_result(answer))
    doubt = Doubt(_WARNED, "warnings", passes=True) if answer.warnings and spec.warnings is None else None
    return Succeeded(_result(answer), told, doubt=doubt)


_WARNED = "the answer comes with warnings, which fail a verify unless the step says warnings: tell, or its expect looks at result.warnings"
_SAID = 2
"""Warnings, and infos, in the summary."""


def _result(answer: Answer) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for sample in answer.samples:
        row: dict[str, Any] = {"labels": dict(sample.labels), "value": sample.value}
        rows.append(row if sample.histogram is None else {**row, "histogram": dict(sample.histogram)})
    series, _ = action.fit(rows, action.RESULT_BYTES)
    value = answer.samples[0].value if len(answer.samples) == 1 else None
    beside = {"warnings": list(answer.warnings), "infos": list(answer.infos)}
    return {"value": value, "series": series, **beside, "truncated": len(series) < len(rows)}


def _summary(answer: Answer) -> str:
    """Return the answer in a line: what was asked for first, then what was said beside it."""
    said = [("warning", line) for line in answer.warnings[:_SAID]] + [("info", line) for line in answer.infos[:_SAID]]
    return "; ".join([_found(answer.samples), *(f"{what}: {line}" for what, line in said)])


def _found(samples: list[Sample]) -> str:
    histograms = sum(sample.histogram is not None for sample in samples)
    match samples:
        case []:
            return "no series"
        case [Sample(histogram=held)] if held is not None:
            told = f"count {held['count']:g}, sum {held['sum']:g}"
            return f"a native histogram ({told}), not a number; histogram_quantile or histogram_count makes one of it"
        case [Sample(value=float(value))] if not math.isfinite(value):
            # as Prometheus writes it
            return f"value {'NaN' if math.isnan(value) else '+Inf' if value > 0 else '-Inf'}"
        case [only]:
            return f"value {only.value}"
        case _ if histograms:
            return f"{len(samples)} series, {histograms} of them native histograms, which are not numbers"
        case _:
            return f"{len(samples)} series"


ACTION = Action("promql", Promql, Result, effect=Effect.READ, rights="get the Secret", checks=(_check,), read=read)
