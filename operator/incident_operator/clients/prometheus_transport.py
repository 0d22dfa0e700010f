"""Transport for prometheus-api-client: bounded replies, no way to a metadata service, connections that can be cut."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError

from incident_operator.clients import addresses
from incident_operator.core import json_depth, retry_after, texts

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
    if json_depth.deeper_than(response.content):
        raise RefusedError(f"the answer is nested more than {json_depth.MOST} levels deep")
    if b'"error"' in response.content and _says_error(response):
        raise RefusedError(f"Prometheus answered: {_reason(response)}")
    return response


def _says_error(response: requests.Response) -> bool:
    """Tell whether an answer with a good status says that it is not one, as some proxies word it, maybe beside a part of a result."""
    try:
        answer = json_depth.loads(response.content)
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.get("status") == "error"


def _refused(response: requests.Response) -> RefusedError:
    asked = retry_after.seconds(response.headers)
    told = f"Prometheus answered {response.status_code}: {_reason(response)}"
    return RefusedError(
        told, status=response.status_code, passes=response.status_code in retry_after.LATER, after=asked
    )


def _reason(response: requests.Response) -> str:
    """Return what was wrong, in the server's words: its `error`, or where the body is not its own JSON, the first line of that."""
    try:
        said = json_depth.loads(response.content)["error"]
    except (ValueError, LookupError, TypeError):
        said = None
    if not isinstance(said, str):
        said = response.content[:_LOOKED_AT].decode(errors="replace")
    return texts.first_line(said, REASON_CHARACTERS) or "no reason given"
