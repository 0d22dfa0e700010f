"""The Connection: a named endpoint; its credentials stay in a Secret that only the Runbook's account may read."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from incident_operator.api import rules
from incident_operator.api.meta import Conditions, Model, NameRef, ObjectMeta, ObjectName


class ConnectionType(StrEnum):
    """Kinds of endpoints."""

    POSTGRES = "postgres"
    HTTP = "http"
    PROMETHEUS = "prometheus"
    ALERTMANAGER = "alertmanager"


Url = Annotated[str, Field(pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?$", max_length=2048)]


class Postgres(Model):
    """A PostgreSQL database; `secretRef` holds `username` and `password` (kubernetes.io/basic-auth), maybe `ca.crt`."""

    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Annotated[int, Field(ge=1, le=65535)] = 5432
    database: Annotated[str, Field(min_length=1, max_length=63)]
    ssl_mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"


class HttpEndpoint(Model):
    """An HTTP service; `secretRef` may hold `token` (bearer), or `username` and `password`, and `ca.crt`."""

    url: Url
    """Scheme, host and port, maybe a path; steps can only go below it, and redirects are not followed."""
    probe_path: Annotated[str, Field(pattern=r"^/", max_length=512)] = "/"
    """Path fetched to see whether the service answers; any HTTP status counts as an answer."""


class Alertmanager(Model):
    """An Alertmanager whose open alerts are read again; `secretRef` may hold what that of an HTTP service may."""

    url: Url
    """Scheme, host and port, maybe the path of its `--web.route-prefix`."""
    receiver: Annotated[str, Field(max_length=253)] = ""
    """Its receiver that posts to the operator: only alerts that are routed there are read; all alerts when empty."""
    service_account_name: ObjectName | None = None
    """Account of this namespace as which the Secret is read, for no Runbook names this Connection."""


class ConnectionSpec(Model):
    """Where it is, and which Secret opens it."""

    model_config = ConfigDict(
        json_schema_extra=rules.validations(
            rules.explained(
                " && ".join(f"has(self.{kind}) == (self.type == '{kind}')" for kind in ConnectionType),
                "exactly the member that type names has to be set",
                "'type is ' + self.type + ', so exactly spec.' + self.type + ' has to be set'",
            ),
            rules.rule(
                "!has(self.alertmanager) || has(self.alertmanager.serviceAccountName) || !has(self.secretRef)",
                "secretRef needs alertmanager.serviceAccountName: the account as which the Secret is read",
            ),
        )
    )

    type: ConnectionType
    postgres: Postgres | None = None
    http: HttpEndpoint | None = None
    prometheus: HttpEndpoint | None = None
    alertmanager: Alertmanager | None = None
    secret_ref: NameRef | None = None
    """A Secret of this namespace, read as the service account of the Runbook that uses it (alertmanager: as its own)."""


class ConnectionStatus(Model):
    """Whether it answered when a Runbook's account (alertmanager: its own) last tried."""

    used_by: int = 0
    """Runbooks that name it."""
    conditions: Conditions = Field(default_factory=list)


class Connection(Model):
    """The kind as stored."""

    api_version: str = ""
    kind: str = "Connection"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: ConnectionSpec
    status: ConnectionStatus = Field(default_factory=ConnectionStatus)
