"""Asks a Prometheus for the value of an expression now, through prometheus-api-client in a thread of limited life.

The library gets a transport of ours: bounded replies, no way to a metadata service, connections that can be cut.
"""

import asyncio
import contextvars
import json
import re
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests
import urllib3
from prometheus_api_client import PrometheusConnect
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError

from incident_operator.clients import addresses, http, redaction
from incident_operator.connections import Endpoint
from incident_operator.connections.http import PROMETHEUS, HttpEndpoint
from incident_operator.core import reasons, texts
from incident_operator.core.outcomes import LATER, Failure, Unusable, retry_after_seconds
from incident_operator.core.sanitize import MOST, deeper_than, loads
from incident_operator.kubernetes.fair_shares import FairThreads
from incident_operator.kubernetes.priority import THREADS

TOLD = 10
"""Warnings, and infos, that are kept of one answer."""
TOLD_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of the answer."""

    labels: Mapping[str, str]
    value: float | str | None
    """Its newest value: a double, NaN and infinities too; the text of a query for a text; None of a native histogram."""
    histogram: Mapping[str, float] | None = None
    """Of a native histogram `count` and `sum`; its buckets are left out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave."""

    samples: list[Sample]
    warnings: tuple[str, ...] = ()
    """What the answer lacks, e.g. that a store did not answer."""
    infos: tuple[str, ...] = ()
    """What is odd in the query itself, e.g. `rate` of what looks like a gauge."""


def answer_of(answer: Mapping[str, Any]) -> Answer:
    """Return a decoded answer. Raises `LookupError`, `TypeError`, `ValueError` or `AttributeError` for what is not one."""
    data = answer["data"]
    return Answer(_samples(data.get("resultType"), data["result"]), _told(answer, "warnings"), _told(answer, "infos"))


def _samples(kind: Any, result: Any) -> list[Sample]:
    if kind == "string":
        return [Sample({}, _text(result[1]))]
    # a vector has one sample a series, a matrix several, of which the newest counts; a scalar has no labels
    if result and not isinstance(result[0], Mapping):
        return [Sample({}, float(result[1]))]
    return [_sample(dict(series["metric"]), series) for series in result]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a {type(value).__name__}, not a text")
    return value


def _sample(labels: Mapping[str, str], series: Mapping[str, Any]) -> Sample:
    """Return the newest of a series, which may hold numbers, native histograms, or both."""
    numbers = [series["value"]] if "value" in series else series.get("values") or []
    histograms = [series["histogram"]] if "histogram" in series else series.get("histograms") or []
    if not histograms or (numbers and numbers[-1][0] >= histograms[-1][0]):
        return Sample(labels, float(numbers[-1][1]))
    held = histograms[-1][1]
    return Sample(labels, None, {"count": float(held["count"]), "sum": float(held["sum"])})


def _told(answer: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return what is said beside the result: a list of texts, as Prometheus has it, or whatever a proxy makes of that; nothing says nothing."""
    said = answer.get(name) or []
    lines = (texts.visible(_said(each)) for each in (said if isinstance(said, list) else [said]) if each)
    return tuple(texts.cut(line, TOLD_CHARACTERS) for line in lines if line)[:TOLD]


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


REASON_CHARACTERS = 500
_LOOKED_AT = 8192
URL_CHARACTERS = 2000
REPLY_BYTES = 2 * 1024 * 1024
"""Of one reply, unpacked."""


class ReplyTooLargeError(requests.RequestException):
    """The reply is longer than `REPLY_BYTES`."""


class RefusedError(requests.RequestException):
    """Prometheus answered, but not with a result; the message is its own."""

    def __init__(self, message: str, *, status: int = 200, passes: bool = False, after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.passes = passes
        """Whether the same again may be answered."""
        self.after = after
        """Seconds that it asks to be left alone for."""


class OpenConnections:
    """The sockets of one call, so that another thread can cut them: a thread that waits cannot be cancelled."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._cut = False

    def note(self, connection: socket.socket) -> None:
        """Keep a new connection in mind."""
        self._sockets.append(connection)
        if self._cut:
            self.cut()

    def cut(self) -> None:
        """Shut all connections, now and later ones: whoever reads from them gets an error."""
        self._cut = True
        for connection in self._sockets:
            try:
                # of the plain socket: a TLS goodbye would wait for the peer
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            except OSError:
                continue


class Adapter(HTTPAdapter):
    """Sends through `connections` alone, and never twice."""

    def __init__(self, connections: OpenConnections) -> None:
        self._classes = _pool_classes(connections.note)
        super().__init__(max_retries=0)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request; a long query goes into the body of a POST, for proxies limit the length of a URL."""
        if request.method == "GET" and len(request.url or "") > URL_CHARACTERS:
            request.url, _, query = str(request.url).partition("?")
            request.method = "POST"
            request.headers["Content-Type"] = "application/x-www-form-urlencoded"
            request.prepare_body(query, None)
        return super().send(request, *args, **kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of the connections above."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._classes


def _pool_classes(note: Callable[[Any], None]) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, super()._new_conn)

        def connect(self) -> None:
            super().connect()
            note(self.sock)

    class Encrypted(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, super()._new_conn)

        def connect(self) -> None:
            super().connect()
            note(self.sock)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


def _connected(connection: HTTPConnection, connect: Callable[[], socket.socket]) -> socket.socket:
    """Connect to the first checked address of a host that takes the connection; TLS and the Host header keep its name."""
    name, failure = connection._dns_host, ConnectTimeoutError("no address answers")  # noqa: SLF001
    try:
        for address in addresses.resolved_in_thread(name.strip("[]"), connection.port):
            connection._dns_host = address  # noqa: SLF001
            try:
                return connect()
            except ConnectTimeoutError as error:
                failure = error
        raise failure
    finally:
        connection._dns_host = name  # noqa: SLF001


class _Bounded:
    """A reply's stream that breaks off when it gets too long."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, amount: int, **options: Any) -> Iterator[bytes]:
        read = 0
        for chunk in self._raw.stream(amount, **options):
            read += len(chunk)
            if read > REPLY_BYTES:
                self._raw.close()
                raise ReplyTooLargeError(
                    f"the reply is longer than {REPLY_BYTES // 1024 // 1024} MiB; aggregate in the query"
                )
            yield chunk


def checked(response: requests.Response, *_: Any, **__: Any) -> requests.Response:
    """Limit what is read of a reply, and tell a refusal in the server's words; a hook for a requests session."""
    response.raw = _Bounded(response.raw)
    if response.is_redirect:
        response.close()
        raise RefusedError("it redirects; redirects are not followed, so correct the Connection's url")
    if response.status_code != requests.codes.ok:
        raise _refused(response)
    if deeper_than(response.content):
        raise RefusedError(f"the answer is nested more than {MOST} levels deep")
    if b'"error"' in response.content and _says_error(response):
        raise RefusedError(f"Prometheus answered: {_reason(response)}")
    return response


def _says_error(response: requests.Response) -> bool:
    """Tell whether an answer with a good status says that it is not one, as some proxies word it, maybe beside a part of a result."""
    try:
        answer = loads(response.content)
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.get("status") == "error"


def _refused(response: requests.Response) -> RefusedError:
    asked = retry_after_seconds(response.headers)
    told = f"Prometheus answered {response.status_code}: {_reason(response)}"
    return RefusedError(told, status=response.status_code, passes=response.status_code in LATER, after=asked)


def _reason(response: requests.Response) -> str:
    """Return what was wrong, in the server's words: its `error`, or where the body is not its own JSON, the first line of that."""
    try:
        said = loads(response.content)["error"]
    except (ValueError, LookupError, TypeError):
        said = None
    if not isinstance(said, str):
        said = response.content[:_LOOKED_AT].decode(errors="replace")
    return texts.first_line(said, REASON_CHARACTERS) or "no reason given"


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
            return answer_of(_result(endpoint, query, seconds, connections, trust))
    except RefusedError as error:
        hint = redaction.of_status(endpoint.secret, error.status)
        told = f"{redaction.without(endpoint.secret, str(error))}{hint}"
        raise PromqlError(told, answered=True, passes=error.passes, after=error.after) from None
    except (requests.JSONDecodeError, LookupError, TypeError, AttributeError):
        raise PromqlError(f"{_url(endpoint)}: {_NONSENSE}", answered=True) from None
    except (requests.RequestException, OSError) as error:
        message = redaction.without(endpoint.secret, f"{_url(endpoint)}: {_reason_of(error)}")
        raise PromqlError(message, answered=False) from None
    except ValueError:
        raise PromqlError(f"{_url(endpoint)}: {_NONSENSE}", answered=True) from None


def _result(endpoint: Endpoint, query: str, seconds: float, connections: OpenConnections, trust: Any) -> Any:
    """Return the whole of a good answer, decoded."""
    url, answers = _url(endpoint), list[requests.Response]()
    with requests.Session() as session:
        session.trust_env = False
        session.max_redirects = 0
        session.hooks["response"] += [checked, lambda answer, *_, **__: answers.append(answer)]
        if "ca.crt" in endpoint.secret:
            trust.write(endpoint.secret["ca.crt"])
            trust.flush()
            session.verify = trust.name
        # who waits for the answer leaves first and cuts the connection, so that a late answer is told in one way
        patience = (CONNECT_SECONDS, seconds + 1)
        client = PrometheusConnect(url, _headers(endpoint), session=session, timeout=patience)
        # the constructor mounts an adapter of its own, which tries again and knows no limits
        session.mount(url, Adapter(connections))
        # seconds without a unit: Prometheus takes no fraction in its own duration format
        client.custom_query(query, params={"timeout": f"{seconds:.3f}"})
        # the client gives the result alone, without what the server says beside it
        return answers[-1].json()


def _headers(endpoint: Endpoint) -> dict[str, str]:
    """Return the headers of the Connection, of its Secret, and its credentials. Raises `Unusable` for one that is not to be set."""
    own = _declared(endpoint).headers
    http.check_headers(own, "a Connection")
    return {**own, **http.secret_headers(endpoint.secret), **http.credentials(endpoint.secret)}


def _reason_of(error: Exception) -> str:
    return _innermost(error) if isinstance(error, requests.ConnectionError) else str(error)


def _innermost(error: BaseException) -> str:
    while error.__context__ is not None:
        error = error.__context__
    return getattr(error, "strerror", None) or str(error)


def _url(endpoint: Endpoint) -> str:
    return _declared(endpoint).url.rstrip("/")


def _declared(endpoint: Endpoint) -> HttpEndpoint:
    where = PROMETHEUS.of(endpoint.connection.spec)
    if where is None:
        name, kind = endpoint.connection.metadata.name, endpoint.connection.spec.type
        raise PromqlError(f'Connection "{name}" is of type {kind}, not prometheus', answered=True)
    return where
