"""Asks a Prometheus for the value of an expression now, through prometheus-api-client in a thread of limited life."""

import asyncio
import contextvars
import re
import tempfile
from collections.abc import Mapping
from functools import partial
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect

from incident_operator.clients import (
    credential_hints,
    http_requests,
    prometheus_answers,
    prometheus_transport,
    redaction,
)
from incident_operator.clients.endpoint import Endpoint
from incident_operator.clients.fair_threads import FairThreads
from incident_operator.clients.priority import THREADS
from incident_operator.clients.prometheus_answers import Answer
from incident_operator.clients.prometheus_transport import OpenConnections, RefusedError
from incident_operator.connections import prometheus as declared
from incident_operator.connections.http import HttpEndpoint
from incident_operator.core import reasons
from incident_operator.core.errors import Failure, Unusable

CONNECT_SECONDS = 5.0
_NONSENSE = "the answer is not that of a Prometheus query API"
_PLACEHOLDER = re.compile(r"%\(([A-Za-z_][A-Za-z0-9_]*)\)s")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class PromqlError(Failure):
    """No answer; `answered` says that Prometheus itself refused the query, `passes` that it may take the same later."""

    def __init__(self, message: str, *, answered: bool, passes: bool = False, after: float = 0.0) -> None:
        reason = reasons.STATEMENT_FAILED if answered and not passes else reasons.CONNECTION_FAILED
        super().__init__(reason, message, retryable=passes or not answered)
        self.after = after


def render(query: str, params: Mapping[str, Any]) -> str:
    """Return the query with each `%(name)s` replaced by a quoted PromQL string. Raises `Unusable` where one is missing."""
    for found in _PLACEHOLDER.finditer(query):
        if found[1] not in params:
            raise Unusable(f"query: {found[0]} is not among params")
        if not isinstance(params[found[1]], str | int | float):
            kind = "null" if params[found[1]] is None else "a list or an object"
            raise Unusable(f"params.{found[1]}: {kind}; a parameter of a query is a text, a number or a boolean")
    return _PLACEHOLDER.sub(lambda found: literal(params[found[1]]), query)


def literal(value: str | float | bool) -> str:
    """Return a value as a PromQL string literal, which follows Go's escapes."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() else f"\\U{ord(character):08x}"


class Prometheus:
    """Runs queries. One for the process; its threads end with `close`."""

    def __init__(self) -> None:
        self._threads = FairThreads(THREADS, "promql")

    def close(self) -> None:
        """Let go of the threads; none of them waits longer than its own query."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def query(self, endpoint: Endpoint, query: str, seconds: float) -> Answer:
        """Return the answer of an instant query, one sample a series. Raises `PromqlError`."""
        connections = OpenConnections()
        ask = partial(_ask, endpoint, query, seconds, connections)
        # what a library logs in the thread is masked as what is logged here
        work = asyncio.get_running_loop().run_in_executor(self._threads, contextvars.copy_context().run, ask)
        try:
            async with asyncio.timeout(seconds):
                return await work
        except TimeoutError:
            raise PromqlError(f"{_url(endpoint)}: no answer within {seconds:g}s", answered=False) from None
        finally:
            connections.cut()


def _ask(endpoint: Endpoint, query: str, seconds: float, connections: OpenConnections) -> Answer:
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".crt") as trust:
            return prometheus_answers.answer_of(_result(endpoint, query, seconds, connections, trust))
    except RefusedError as error:
        hint = credential_hints.of_status(endpoint.secret, error.status)
        told = f"{redaction.without(endpoint.secret, str(error))}{hint}"
        raise PromqlError(told, answered=True, passes=error.passes, after=error.after) from None
    except (requests.JSONDecodeError, LookupError, TypeError, AttributeError):
        raise PromqlError(f"{_url(endpoint)}: {_NONSENSE}", answered=True) from None
    except (requests.RequestException, OSError) as error:
        message = redaction.without(endpoint.secret, f"{_url(endpoint)}: {_reason(error)}")
        raise PromqlError(message, answered=False) from None
    except ValueError:
        raise PromqlError(f"{_url(endpoint)}: {_NONSENSE}", answered=True) from None


def _result(endpoint: Endpoint, query: str, seconds: float, connections: OpenConnections, trust: Any) -> Any:
    """Return the whole of a good answer, decoded."""
    url, answers = _url(endpoint), list[requests.Response]()
    with requests.Session() as session:
        session.trust_env = False
        session.max_redirects = 0
        session.hooks["response"] += [prometheus_transport.checked, lambda answer, *_, **__: answers.append(answer)]
        if "ca.crt" in endpoint.secret:
            trust.write(endpoint.secret["ca.crt"])
            trust.flush()
            session.verify = trust.name
        # who waits for the answer leaves first and cuts the connection, so that a late answer is told in one way
        patience = (CONNECT_SECONDS, seconds + 1)
        client = PrometheusConnect(url, _headers(endpoint), session=session, timeout=patience)
        # the constructor mounts an adapter of its own, which tries again and knows no limits
        session.mount(url, prometheus_transport.Adapter(connections))
        # seconds without a unit: Prometheus takes no fraction in its own duration format
        client.custom_query(query, params={"timeout": f"{seconds:.3f}"})
        # the client gives the result alone, without what the server says beside it
        return answers[-1].json()


def _headers(endpoint: Endpoint) -> dict[str, str]:
    """Return the headers of the Connection, of its Secret, and its credentials. Raises `Unusable` for one that is not to be set."""
    own = _declared(endpoint).headers
    http_requests.check_headers(own, "a Connection")
    return {**own, **http_requests.secret_headers(endpoint.secret), **http_requests.credentials(endpoint.secret)}


def _reason(error: Exception) -> str:
    return _innermost(error) if isinstance(error, requests.ConnectionError) else str(error)


def _innermost(error: BaseException) -> str:
    while error.__context__ is not None:
        error = error.__context__
    return getattr(error, "strerror", None) or str(error)


def _url(endpoint: Endpoint) -> str:
    return _declared(endpoint).url.rstrip("/")


def _declared(endpoint: Endpoint) -> HttpEndpoint:
    where = declared.CONNECTION.of(endpoint.connection.spec)
    if where is None:
        name, kind = endpoint.connection.metadata.name, endpoint.connection.spec.type
        raise PromqlError(f'Connection "{name}" is of type {kind}, not prometheus', answered=True)
    return where
