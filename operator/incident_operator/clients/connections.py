"""Connections with their credentials: the Connection is read as the operator, its Secret as the Runbook's account.

So RBAC on the Secret says which Runbook may use which Connection. `Connections` keeps nothing: a rotated Secret counts from the next call
on. `Probes` ask an endpoint whether it is there and lets us in, for the condition Ready; what is asked is declared with the type
(`connections/`), how, is here.
"""

import asyncio
import base64
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import pydantic

from incident_operator import connections
from incident_operator.api.connection import Connection
from incident_operator.clients import http, redaction
from incident_operator.clients.http import Request
from incident_operator.clients.prometheus import Prometheus
from incident_operator.clients.queries import Query, Reads
from incident_operator.connections import Endpoint
from incident_operator.core import reasons
from incident_operator.core.expressions import cel
from incident_operator.core.outcomes import Failure, Json, Unusable
from incident_operator.core.redactor import Redactor
from incident_operator.kubernetes import apiserver, discovery
from incident_operator.kubernetes.discovery import missing_account

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
        http.check_headers(headers or {}, "a Connection")
        request = Request("GET", http.target(base, path, {}), headers or {})
        reply = await http.send(request, self.endpoint.secret, PROBE_SECONDS)
        hint = redaction.of_status(self.endpoint.secret, reply.status)
        if hint or (ok and reply.status != 200):
            raise Unusable(f"{base}: GET {path} was answered with {reply.status}{hint}")


_JUST = 2.0
"""Seconds in which what was read to learn its credentials may serve the step that it was read for."""


class EndpointError(Failure):
    """A Connection cannot be used, so nothing was sent; the message names what is missing, never a value.

    The reason is ConnectionNotFound, SecretUnreadable, or ConnectionFailed where the apiserver did not answer.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message, retryable=reason == reasons.CONNECTION_FAILED)


class NoConnection(EndpointError):
    """There is no Connection of that name."""


@contextmanager
def named(connection: str) -> Iterator[None]:
    """Put a Connection's name before what a failure inside says."""
    try:
        yield
    except Failure as failure:
        if not is_named(failure.message, connection):
            failure.message = f"{connection}: {failure.message}"
        failure.args = (failure.message,)
        raise


def is_named(message: str, connection: str) -> bool:
    """Return whether a message says of itself which Connection it is about."""
    return f"Connection {connection}" in message


class Finds(Protocol):
    """Finds Connections: `Connections`, or what stands before it."""

    async def endpoint(self, namespace: str, name: str, service_account: str) -> Endpoint:
        """Return a Connection of a namespace with its credentials. Raises `EndpointError`."""
        ...


class Teaching:
    """Connections for one Incident: its redactor learns each credential before anybody can use it."""

    def __init__(self, found: Finds, redactor: Redactor) -> None:
        self._found = found
        self._redactor = redactor
        self._just_read: dict[tuple[str, str, str], tuple[float, Endpoint]] = {}

    async def endpoint(self, namespace: str, name: str, service_account: str) -> Endpoint:
        """Return a Connection of a namespace with its credentials, maybe as `learn` has just read it. Raises `EndpointError`."""
        at, known = self._just_read.get((namespace, name, service_account), (-math.inf, None))
        if known is not None and asyncio.get_running_loop().time() - at < _JUST:
            return known
        return await self._read(namespace, name, service_account)

    async def learn(self, namespace: str, names: Iterable[str], service_account: str) -> bool:
        """Learn the credentials of these Connections; False where one cannot be read, which is for its own steps to tell."""
        wanted, began = list(names), asyncio.get_running_loop().time()
        asked = (self._read(namespace, name, service_account) for name in wanted)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        read = {name: answer for name, answer in zip(wanted, answers, strict=True) if isinstance(answer, Endpoint)}
        self._just_read = {(namespace, name, service_account): (began, answer) for name, answer in read.items()}
        return len(read) == len(wanted)

    async def _read(self, namespace: str, name: str, service_account: str) -> Endpoint:
        found = await self._found.endpoint(namespace, name, service_account)
        self._redactor.learn(name, found.version, found.credentials)
        return replace(found, fetched=partial(self._learn_fetched, name))

    def _learn_fetched(self, name: str, value: str) -> None:
        self._redactor.learn(name, value, lambda: [value], "fetched")


class Connections:
    """Looks Connections up."""

    def __init__(self, client: apiserver.Kube) -> None:
        self._kube = client

    async def endpoint(self, namespace: str, name: str, service_account: str) -> Endpoint:
        """Return a Connection of a namespace with its credentials. Raises `EndpointError`."""
        connection = await self._connection(namespace, name)
        version = connection.metadata.resource_version
        if connection.spec.secret_ref is None:
            return Endpoint(connection, {}, f"{version}/-")
        stored = await self._secret(namespace, connection.spec.secret_ref.name, service_account, name)
        return Endpoint(connection, _decoded(stored), f"{version}/{stored['metadata']['resourceVersion']}")

    async def _connection(self, namespace: str, name: str) -> Connection:
        try:
            return connections.connection_of(await self._kube.get(discovery.connections(namespace, name)))
        except apiserver.NotFound:
            message = f"there is no Connection {name} in {namespace}: kubectl get connections -n {namespace}"
            raise NoConnection(reasons.CONNECTION_NOT_FOUND, message) from None
        except apiserver.Unavailable as error:
            raise EndpointError(reasons.CONNECTION_FAILED, f"cannot read Connection {name}: {error}") from error
        except apiserver.ApiError as error:
            raise EndpointError(reasons.CONNECTION_NOT_FOUND, f"cannot read Connection {name}: {error}") from error
        except pydantic.ValidationError as error:
            message = f"Connection {name} in {namespace} is malformed at {cel.of_validation(error)}"
            raise EndpointError(reasons.CONNECTION_NOT_FOUND, message) from None

    async def _secret(self, namespace: str, name: str, service_account: str, connection: str) -> Json:
        account = self._kube.acting_as(namespace, service_account)
        user = apiserver.service_account_user(namespace, service_account)
        try:
            return await account.get(discovery.secrets(namespace, name))
        except apiserver.NotFound:
            message = f'Connection {connection} names Secret "{name}", which is not in {namespace}'
            raise EndpointError(reasons.SECRET_UNREADABLE, message) from None
        except apiserver.Forbidden as error:
            absent = "" if _is_not_let_in(error) else await self._no_account(namespace, service_account)
            message = absent or _refusal(error, user, namespace, name)
            raise EndpointError(reasons.SECRET_UNREADABLE, f"Connection {connection}: {message}") from None
        except apiserver.Unavailable as error:
            raise EndpointError(reasons.CONNECTION_FAILED, f'cannot read Secret "{name}": {error}') from error
        except apiserver.ApiError as error:
            raise EndpointError(reasons.SECRET_UNREADABLE, f'cannot read Secret "{name}": {error}') from error

    async def _no_account(self, namespace: str, service_account: str) -> str:
        """Say that the account does not exist, so that nobody grants it anything; empty where it does, or that is not known."""
        try:
            return await missing_account(self._kube, namespace, service_account)
        except apiserver.ApiError:
            return ""


def malformed(stored: Json) -> str:
    """Return what keeps a Connection as stored from ever being used, whoever tries; empty where nothing does."""
    try:
        spec = connections.connection_of(stored).spec
    except pydantic.ValidationError as error:
        return f"malformed at {cel.of_validation(error)}"
    kind = connections.named(spec.type)
    if kind is None or kind.of(spec) is None:
        return f"malformed at spec.{spec.type}: it is missing, and says where a Connection of type {spec.type} leads"
    return ""


def _refusal(error: apiserver.Forbidden, user: str, namespace: str, secret: str) -> str:
    if _is_not_let_in(error):
        return f"the operator may not act as {user}; bind its impersonator role in {namespace}"
    return f'{user} may not get secret "{secret}"; grant it with a Role that names this Secret'


def _is_not_let_in(error: apiserver.Forbidden) -> bool:
    return " cannot impersonate " in error.message


def _decoded(stored: Json) -> Mapping[str, str]:
    data = stored.get("data") or {}
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}
