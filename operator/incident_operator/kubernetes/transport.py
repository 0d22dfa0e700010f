"""HTTP/1.1 to one server with next to nothing around a request: connections are kept, and nothing is ever sent twice.

aiohttp spends several times as long on a request as the apiserver's own client; this is for the requests of which there are
many. Parsing is httptools' (the parser of Node.js); streams, redirects, cookies and compression are not needed here.
"""

import asyncio
import base64
import re
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

import httptools

_CONNECT_SECONDS = 5.0
_IDLE_SECONDS = 30.0
"""A connection unused for longer is not used again: the server, or something on the way, may have dropped it."""
ANSWER_BYTES = 16 * 1024 * 1024
"""Of an answer for which nobody says less: more than any object or page of a list has."""
_DATES_EVERY = 10.0
"""Seconds between two looks at an answer's date."""
_DATE = re.compile(rb"\r\n[Dd]ate:[ \t]*([^\r]{1,40})\r\n")
_HEADERS = 2048
"""Bytes of the begin of an answer in which its date stands."""
_PORTS = {"http": 80, "https": 443}


class NotConnectedError(OSError):
    """There was no connection, so the request was certainly not applied."""


class TooLongError(OSError):
    """The answer is longer than it may be; reading stopped there. The request was carried out."""


class BrokenError(OSError):
    """The connection broke (or spoke no HTTP) before the answer was whole; the request may have been applied."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where to connect to, and how."""

    url: str
    """Scheme, host, port and maybe a path, without a trailing slash."""
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    """TLS server name where it differs from the URL's host."""
    proxy: str | None = None
    """An HTTP proxy; TLS goes through it in a tunnel."""


class Transport:
    """Connections to one server, at most `limit` at a time. Close it after use."""

    def __init__(self, server: Server, limit: int, dated: Callable[[str], None] | None = None) -> None:
        """`dated` is told the `Date` of an answer now and then."""
        self._server = server
        self._dated = dated
        self._dated_at = float("-inf")
        self._to = urlsplit(server.url)
        self._slots = asyncio.Semaphore(limit)
        self._idle: deque[_Connection] = deque()
        through_proxy = server.proxy is not None and server.tls is None
        self._prefix = server.url if through_proxy else self._to.path

    async def request(
        self, method: str, target: str, headers: str, body: bytes, seconds: float, most: int = ANSWER_BYTES
    ) -> tuple[int, bytes]:
        """Send one request and return status and body of its answer.

        `target` is path and query, percent-encoded; `headers` are lines that end in CRLF, beyond `Host` and
        `Content-Length`; `most` is how many bytes of the answer are read. Raises `TimeoutError` (the request may have been
        applied), `NotConnectedError`, `BrokenError`, `TooLongError`, and `ValueError` for what is not a header or a target.
        """
        head = _head(method, f"{self._prefix}{target}", self._to.netloc.rpartition("@")[2], headers, len(body))
        async with self._slots, asyncio.timeout(seconds):
            connection = self._reusable() or await self._connect()
            try:
                answer = await connection.exchange(head + body, most)
                self._tell_date(connection)
            finally:
                if connection.is_reusable:
                    self._idle.append(connection)
                else:
                    connection.abort()
            return answer

    def _tell_date(self, connection: "_Connection") -> None:
        now = asyncio.get_running_loop().time()
        if self._dated is None or now - self._dated_at < _DATES_EVERY:
            return
        found = _DATE.search(connection.begins)
        if found is not None:
            self._dated_at = now
            self._dated(found[1].decode("latin-1"))

    def close(self) -> None:
        """Close the connections that nobody uses; those in use are closed by their requests' end."""
        while self._idle:
            self._idle.pop().abort()

    def _reusable(self) -> "_Connection | None":
        oldest = asyncio.get_running_loop().time() - _IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.is_reusable and connection.used_at >= oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> "_Connection":
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return await (self._direct() if self._server.proxy is None else self._by_proxy(self._server.proxy))
        except TimeoutError:
            raise NotConnectedError(f"no connection to {self._to.netloc} within {_CONNECT_SECONDS:g}s") from None
        except (OSError, httptools.HttpParserError) as error:
            raise NotConnectedError(f"{self._to.netloc}: {error}") from error

    async def _direct(self) -> "_Connection":
        loop, tls = asyncio.get_running_loop(), self._server.tls
        name = self._name() if tls is not None else None
        host, port = _address(self._to)
        _, made = await loop.create_connection(_Connection, host, port, ssl=tls, server_hostname=name)
        return made

    async def _by_proxy(self, url: str) -> "_Connection":
        proxy, loop = urlsplit(url), asyncio.get_running_loop()
        transport, made = await loop.create_connection(_Connection, *_address(proxy))
        if self._server.tls is None:
            return made
        host, port = _address(self._to)
        headers = _proxy_authorization(proxy)
        status, _ = await made.exchange(_head("CONNECT", f"{host}:{port}", f"{host}:{port}", headers, 0), tunnel=True)
        if status != 200:
            transport.abort()
            raise ConnectionError(f"the proxy {proxy.hostname} answered {status}")
        secured = _Connection()
        secured_transport = await loop.start_tls(transport, secured, self._server.tls, server_hostname=self._name())
        if secured_transport is None:
            raise ConnectionError("the tunnel was closed")
        secured.connection_made(secured_transport)
        return secured

    def _name(self) -> str:
        return self._server.server_name or self._to.hostname or ""


class _Connection(asyncio.Protocol):
    """One connection with at most one request on its way."""

    def __init__(self) -> None:
        self._transport: asyncio.BaseTransport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._left = 0
        """Bytes of the answer's body that are still taken."""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._tunnel = False
        self.is_reusable = False
        self.used_at = 0.0
        self.begins = b""
        """How the answer begins: its headers, unless they are long."""

    async def exchange(self, request: bytes, most: int = ANSWER_BYTES, *, tunnel: bool = False) -> tuple[int, bytes]:
        """Send a request and return its answer; whoever gives up waiting has to abort the connection."""
        loop = asyncio.get_running_loop()
        self._answer, self._tunnel, self.is_reusable = loop.create_future(), tunnel, False
        self._left, self.begins = most, b""
        self._transport.write(request)  # type: ignore[union-attr] # made with the connection
        try:
            return await self._answer
        finally:
            self._answer, self.used_at = None, loop.time()

    def abort(self) -> None:
        """Close it at once."""
        self.is_reusable = False
        if self._transport is not None:
            self._transport.abort()  # type: ignore[attr-defined] # a transport that can be written to can be aborted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.abort()  # an answer that nobody asked for
            return
        if not self.begins:
            self.begins = data[:_HEADERS]
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._complete()
        except httptools.HttpParserError as error:
            self._fail(BrokenError(f"the answer is not HTTP: {error}"))
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_reusable = False
        self._fail(BrokenError(f"the connection broke: {error or 'closed by the server'}"))

    def on_headers_complete(self) -> None:
        if self._tunnel:
            self._complete()  # what follows is TLS, which has not begun: the client speaks first

    def on_body(self, part: bytes) -> None:
        self._left -= len(part)
        if self._left >= 0:
            self._parts.append(part)
        elif self._parts or self._answer is not None:
            self._parts.clear()
            self._fail(TooLongError("the answer is longer than is read"))
            self.abort()

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200 and not self._tunnel:
            self._complete()

    def _complete(self) -> None:
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        if self._answer is None or self._answer.done():
            self.abort()  # one answer too many
            return
        self.is_reusable = self._parser.should_keep_alive()
        self._answer.set_result((self._parser.get_status_code(), body))

    def _fail(self, error: OSError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


def _head(method: str, target: str, host: str, headers: str, length: int) -> bytes:
    if (
        not target.isprintable()
        or " " in target
        or headers.count("\n") != headers.count("\r\n")
        or "\r\n\r\n" in headers
    ):
        raise ValueError("a request's target is one word, and its headers are lines")
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {length}\r\n\r\n"
    return head.encode("latin-1")


def _address(url: SplitResult) -> tuple[str, int]:
    return url.hostname or "", url.port or _PORTS[url.scheme]


def _proxy_authorization(proxy: SplitResult) -> str:
    if proxy.username is None:
        return ""
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
