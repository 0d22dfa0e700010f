"""What a step can do: one model per action key, and the holder that carries exactly one of them."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from incident_operator.api import rules
from incident_operator.api.meta import DnsLabel, Duration, Model, ObjectName

Value = str | int | float | bool | list[Any] | dict[str, Any] | None
Text = Annotated[str, Field(max_length=4096)]
Statement = Annotated[str, Field(min_length=1, max_length=16384)]
"""SQL or PromQL text. It is a literal: values come in through `params`, never through `${…}`."""
WorkloadRef = Annotated[
    str, Field(pattern=r"^(deployment|statefulset|daemonset)/[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=270)
]
"""A workload as kubectl writes it, e.g. `deployment/scheduler`."""
ScalableRef = Annotated[
    str, Field(pattern=r"^(deployment|statefulset)/[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=270)
]
"""A workload that has replicas, as kubectl writes it."""
ExecTarget = Annotated[
    str, Field(pattern=r"^(pod|deployment|statefulset|daemonset)/[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=270)
]
"""A Pod, or a workload one of whose Pods is meant, as kubectl writes it."""
Params = Annotated[dict[str, Any], Field(max_length=64)]
Selector = Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(min_length=1, max_length=16)]
"""Labels that all must match; never empty, which would mean every object of the namespace."""

ACTION_KEYS = {"logs": "logs", "get": "get", "promql": "promql", "http": "http", "sqlQuery": "sql_query",
               "sqlExecute": "sql_execute", "scale": "scale", "job": "job", "exec": "exec"}  # fmt: skip
"""Action keys as written in a Runbook, with the model's field."""


class Logs(Model):
    """Reads Pod logs (effect: read). `result`: {pods: [name], lines: [text], matches: [{group: text}]}."""

    model_config = ConfigDict(json_schema_extra=rules.validations(rules.exactly_one("source", ["from", "selector"])))

    source: Annotated[WorkloadRef | None, Field(alias="from")] = None
    """The workload whose Pods are read; either this or `selector`."""
    selector: Selector | None = None
    """Labels of the Pods to read."""
    container: DnsLabel | None = None
    tail: Annotated[int, Field(ge=1, le=5000)] = 200
    """Lines per container."""
    since: Duration | None = None
    pattern: Annotated[str | None, Field(max_length=1024)] = None
    """RE2 with named groups; every matching line gives an entry in `result.matches`."""


class Get(Model):
    """Reads Kubernetes objects (effect: read). `result`: {object: {…}} by name, {items: […]} by selector."""

    model_config = ConfigDict(
        json_schema_extra=rules.validations(
            rules.exactly_one("way to find objects", ["name", "selector"]),
            rules.rule(
                "self.apiVersion != 'v1' || self.kind != 'Secret'",
                "Secrets are never read into an Incident; name them in a Connection's secretRef",
            ),
        )
    )

    api_version: Annotated[str, Field(max_length=253)]
    kind: Annotated[str, Field(max_length=63)]
    name: Text | None = None
    selector: Selector | None = None


class Promql(Model):
    """Runs an instant query (effect: read). `result`: {value: double, series: [{labels: {…}, value: double}]}."""

    connection: ObjectName
    query: Statement
    """PromQL; `%(name)s` stands for a parameter and becomes a quoted string literal."""
    params: Params = Field(default_factory=dict)


class Http(Model):
    """Sends one HTTP request. `result`: {status, headers, body, json}.

    Effect: read for GET, HEAD or `safe`; keyed-call with `idempotencyKey`; else unkeyed.
    """

    model_config = ConfigDict(
        json_schema_extra=rules.validations(
            rules.rule(
                "!has(self.idempotencyKey) || !(has(self.safe) && self.safe) && !(self.method in ['GET', 'HEAD'])",
                "idempotencyKey is for requests that change something; this one only reads",
            ),
            rules.rule("!has(self.body) || !(self.method in ['GET', 'HEAD'])", "GET and HEAD carry no body"),
        )
    )

    connection: ObjectName
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: Annotated[str, Field(pattern=r"^/", max_length=2048)] = "/"
    """Path below the Connection's URL; interpolated values are percent-encoded."""
    query: Annotated[dict[str, Any], Field(max_length=64)] = Field(default_factory=dict)
    headers: Annotated[dict[str, Text], Field(max_length=32)] = Field(default_factory=dict)
    json_: Annotated[Any, Field(alias="json")] = None
    body: Text | None = None
    safe: bool = False
    """Declares that this request changes nothing, whatever its method."""
    idempotency_key: Annotated[str | None, Field(max_length=63, pattern=r"^[A-Za-z0-9][-A-Za-z0-9]*$")] = None
    """Header in which the service honours an idempotency key; the step key is sent in it."""


class SqlQuery(Model):
    """Runs one SELECT in a read-only transaction (effect: read). `result`: {rows: [{column: value}], truncated}."""

    connection: ObjectName
    statement: Statement
    params: Params = Field(default_factory=dict)
    max_rows: Annotated[int, Field(ge=1, le=1000)] = 100
    """Rows kept; more are cut and `result.truncated` is true."""


class SqlStatement(Model):
    """One statement with its bound parameters."""

    statement: Statement
    params: Params = Field(default_factory=dict)


class SqlExecute(Model):
    """Changes data in one transaction with a marker row (effect: sql-tx).

    `result`: {rowsChanged, before: [rows], returning: [rows]}. `%(marker)s` is bound to the step key,
    in an undo to the key of the step being undone.
    """

    model_config = ConfigDict(
        json_schema_extra=rules.validations(
            rules.rule(
                "has(self.statement) != (has(self.statements) && self.statements.size() > 0)",
                "either statement or statements, not both and not neither",
            ),
            rules.rule(
                "has(self.statement) || !has(self.params)",
                "params go with each of statements; here they belong to none",
            ),
        )
    )

    connection: ObjectName
    statement: Statement | None = None
    """A single statement; either this or `statements`."""
    params: Params = Field(default_factory=dict)
    statements: Annotated[list[SqlStatement], Field(max_length=20)] = Field(default_factory=list)
    """Several statements, in order, in the one transaction."""
    before: SqlStatement | None = None
    """A query run first in the same transaction; its rows are the before-image."""
    max_rows: Annotated[int, Field(ge=0, le=1000000)]
    """Rows that all statements together may change, measured in the transaction; more rolls back."""


class Scale(Model):
    """Scales a workload (effect: k8s-patch, naturally undoable). `result`: {before, after}."""

    model_config = ConfigDict(
        json_schema_extra=rules.validations(
            rules.rule(
                "type(self.replicas) == int ? self.replicas >= 0 && self.replicas <= self.maxReplicas"
                " : self.replicas.contains('${')",
                "replicas is a number from 0 to maxReplicas, or an expression for one: ${…}",
            )
        )
    )

    target: ScalableRef
    replicas: Annotated[int | str, Field(json_schema_extra={"x-kubernetes-int-or-string": True, "maxLength": 1024})]
    """The wanted number, or an expression for it, e.g. `${steps.deploy.outputs.replicas + 2}`."""
    max_replicas: Annotated[int, Field(ge=0, le=1000)] = 100
    """Above this the step fails instead of scaling."""


class Job(Model):
    """Runs a Job to completion (effect: k8s-create). `result`: {succeeded, exitCode, log: [last lines], pod}."""

    model_config = ConfigDict(json_schema_extra=rules.validations(rules.exactly_one("source", ["from", "template"])))

    source: Annotated[WorkloadRef | None, Field(alias="from")] = None
    """The workload whose Pod template is used; either this or `template`."""
    template: dict[str, Any] | None = None
    """A Pod template: {metadata, spec}."""
    container: DnsLabel | None = None
    """The container that runs `command`; the first one unless named."""
    command: Annotated[list[Text], Field(max_length=64)] = Field(default_factory=list)
    """An argv list; never a shell string made from data."""
    env: Annotated[dict[str, Text], Field(max_length=64)] = Field(default_factory=dict)


class Exec(Model):
    """Runs a command in a running container (effect: unkeyed, at most once).

    `result`: {exitCode, stdout, stderr, matches: [{group: text}], truncated}. Standard input is empty.
    """

    target: ExecTarget
    """A Pod, or a workload: then its ready Pod that is oldest."""
    container: DnsLabel | None = None
    """The Pod's default container, or its first one, unless named."""
    command: Annotated[list[Text], Field(min_length=1, max_length=64)]
    """An argv list; never a shell string made from data. An element may be one `${…}`, but for the first."""
    pattern: Annotated[str | None, Field(max_length=1024)] = None
    """RE2 with named groups; every matching line of stdout gives an entry in `result.matches`."""


EXACTLY_ONE_ACTION = rules.exactly_one("action", ACTION_KEYS)


class ActionHolder(Model):
    """Carries exactly one action, under its own key."""

    model_config = ConfigDict(json_schema_extra=rules.validations(EXACTLY_ONE_ACTION))

    logs: Logs | None = None
    get: Get | None = None
    promql: Promql | None = None
    http: Http | None = None
    sql_query: SqlQuery | None = None
    sql_execute: SqlExecute | None = None
    scale: Scale | None = None
    job: Job | None = None
    exec: Exec | None = None

    @property
    def action(self) -> tuple[str, Model]:
        """The action's key as it is written (`sqlQuery`) and its model; the CRD guarantees exactly one."""
        return next(found for found in _actions(self))


def _actions(holder: ActionHolder) -> list[tuple[str, Model]]:
    present = [(key, getattr(holder, field)) for key, field in ACTION_KEYS.items()]
    return [(key, model) for key, model in present if model is not None]
