"""Sends one HTTP request, once, and reads a bounded reply. Follows no redirect, keeps no cookie, repeats nothing.

What a step says becomes a request that is always below the Connection's own URL, never with a header that is not its to set.
"""

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlencode

import aiohttp
from yarl import URL

from incident_operator.clients import addresses, redaction
from incident_operator.connections import http as services
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failure, Unusable, retry_after_seconds

_KEPT = "/%:@!$&'()*+,;=~-._"
"""Characters of a path that stay as they are; `%` because interpolated values come percent-encoded."""
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_RESERVED = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
    }
)
"""Headers that HTTP itself or the Connection's Secret sets, or by which a service takes another method or path than was judged."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to be sent."""

    method: str
    url: URL
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


def target(base: str, path: str, query: Mapping[str, Any]) -> URL:
    """Return the URL of a path below `base`. Raises `Unusable` for a path that could lead elsewhere."""
    _check_path(path)
    pairs = [pair for name, value in query.items() for pair in _pairs(name, value)]
    text = base.rstrip("/") + quote(path, safe=_KEPT)
    return URL(f"{text}?{urlencode(pairs)}" if pairs else text, encoded=True)


def _check_path(path: str) -> None:
    if not path.startswith("/") or path.startswith(("//", "/\\")):
        raise Unusable(f"path {path!r}: has to begin with one slash; it is below the Connection's url")
    if "?" in path or "#" in path:
        raise Unusable(f"path {path!r}: holds ? or #; what follows ? goes into query")
    if _NOT_TEXT.search(unquote(path)) or "\t" in path:
        raise Unusable(f"path {path!r}: holds a control character")
    # services decode before they resolve, some of them twice; some leave out what follows a semicolon
    segments = re.split(r"[/\\]", _decoded(path))
    if any(each.partition(";")[0] in {".", ".."} for each in segments):
        raise Unusable(f"path {path!r}: holds a . or .. segment")


def _decoded(path: str) -> str:
    while (shorter := unquote(path)) != path:
        path = shorter
    return path


def _pairs(name: str, value: Any) -> list[tuple[str, str]]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        raise Unusable(f"query.{name}: an object; only texts, numbers, booleans and lists of them go into a query")
    items = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(item, str | int | float) for item in items):
        raise Unusable(f"query.{name}: a list may hold only texts, numbers and booleans, and no null")
    return [(name, _written(item)) for item in items]


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_headers(headers: Mapping[str, str], by: str = "a step") -> None:
    """Raise `Unusable` for a header that nobody but the operator may set, or that would break the request apart.

    Raises `UnicodeError` for half a surrogate pair.
    """
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise Unusable(f"headers: {name!r} is not a header name")
        if _same(name) in _RESERVED:
            told = f"may not be set by {by}; credentials come from the Connection's Secret"
            raise Unusable(f"headers.{name}: {told}, method and path from the step's own fields")
        value.encode()
        if _NOT_TEXT.search(value):
            raise Unusable(f"headers.{name}: holds a control character")


def secret_headers(secret: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that a Connection's Secret holds as `header.NAME`. Raises `Unusable` for one that is not to be set."""
    found = services.headers_in(secret)
    check_headers(found, "a Connection's Secret")
    return found


def refuse_those_of(theirs: Iterable[str], headers: Mapping[str, str]) -> None:
    """Raise `Unusable` where a step sets a header that its Connection sets: whose data it reads is not for a step to say."""
    taken = {_same(name) for name in theirs}
    for name in headers:
        if _same(name) in taken:
            raise Unusable(f"headers.{name}: the Connection sets it, so a step may not")


def _same(name: str) -> str:
    return name.lower().replace("_", "-")  # many services take one for the other


def credentials(secret: Mapping[str, str]) -> dict[str, str]:
    """Return the Authorization header that a Connection's Secret asks for: `token`, or `username` and `password`.

    Raises `Unusable` for a token that no header can hold.
    """
    if token := secret.get("token", "").strip():
        if _NOT_TEXT.search(token):
            raise Unusable(f"no request can carry the credentials{redaction.of(secret)}")
        return {"Authorization": f"Bearer {token}"}
    if pair := services.basic(secret):
        return {"Authorization": f"Basic {pair}"}
    return {}


CONNECT_SECONDS = 5.0
BODY_BYTES = 192 * 1024
"""Read of a reply's body; with its JSON form and the rest the result stays below 256 KiB."""


class HttpError(Failure):
    """No reply; `maybe_applied` tells whether the service may have got the request."""

    def __init__(self, message: str, *, maybe_applied: bool, retryable: bool = True) -> None:
        super().__init__(reasons.CONNECTION_FAILED, message, retryable=retryable, maybe_applied=maybe_applied)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service answered, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; of repeated headers the first."""
    body: bytes
    complete: bool
    """False where the body was longer than the limit, or broke off."""
    charset: str
    broken: bool = False
    """Whether the connection broke in the body."""
    retry_after: float = 0.0
    """Seconds that the service asks to be left alone for, as far as they are obeyed."""


async def send(
    request: Request, secret: Mapping[str, str], seconds: float, limit: int = BODY_BYTES, address: str = ""
) -> Reply:
    """Send a request and return the reply with at most `limit` bytes of its body. Raises `HttpError`, without a secret in its message.

    Credentials and headers that the Secret holds are sent with it; raises `Unusable` for one that it may not set.
    `address` is the numeric one of the URL's host to connect to; any that its name has where it is empty.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    try:
        async with _session(secret, seconds, address) as session, await _begin(session, request, deadline) as response:
            return await _reply(response, deadline, limit)
    except HttpError as error:
        told = redaction.without(secret, error.message)
        raise HttpError(told, maybe_applied=error.maybe_applied, retryable=error.retryable) from None
    except TimeoutError:
        raise HttpError(f"{_origin(request)}: no reply within {seconds:g}s", maybe_applied=True) from None


def _session(secret: Mapping[str, str], seconds: float, address: str) -> aiohttp.ClientSession:
    connect = min(CONNECT_SECONDS, seconds / 2)
    resolver = _Resolved(address) if address else None
    connector = aiohttp.TCPConnector(
        ssl=trust(secret), force_close=True, socket_factory=_socket, limit=1, resolver=resolver
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            **secret_headers(secret),
            **credentials(secret),
            "Accept-Encoding": "identity",
        },
        middlewares=[_once],
        timeout=aiohttp.ClientTimeout(total=None, connect=connect),
    )


class _Resolved(aiohttp.abc.AbstractResolver):
    """Says that every name has one address, which somebody else found."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 # aiohttp names it
    ) -> list[aiohttp.abc.ResolveResult]:
        kind = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        found = {"hostname": host, "host": self._address, "port": port, "family": kind, "proto": 0}
        return [aiohttp.abc.ResolveResult(**found, flags=socket.AI_NUMERICHOST)]  # type: ignore[typeddict-item]

    async def close(self) -> None:
        """Hold nothing."""


async def _begin(session: aiohttp.ClientSession, request: Request, deadline: float) -> aiohttp.ClientResponse:
    """Send the request and wait for status and headers."""
    try:
        async with asyncio.timeout_at(deadline):
            return await session.request(
                request.method, request.url, headers=request.headers, data=request.body, allow_redirects=False
            )
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
        raise HttpError(f"{_origin(request)}: {_reason(error)}", maybe_applied=False) from None
    except (aiohttp.ClientError, ValueError) as error:
        raise HttpError(f"{_origin(request)}: {_reason(error)}", maybe_applied=True) from None


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a PUT or DELETE again when the connection breaks (RFC 9112 §9.3.1 lets it)."""
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        told = f"{request.url.origin()}: connection lost before the reply ({_reason(error)})"
        raise HttpError(told, maybe_applied=True) from None


async def _reply(response: aiohttp.ClientResponse, deadline: float, limit: int) -> Reply:
    body, complete, broken = await _body(response, deadline, limit)
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        headers.setdefault(name.lower(), value.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    asked = retry_after_seconds(headers)
    return Reply(response.status, headers, body, complete, _charset(response), broken, asked)


def _charset(response: aiohttp.ClientResponse) -> str:
    try:
        return response.charset or "utf-8"
    except (ValueError, LookupError):  # the header makes no sense to its parser: the status came all the same
        return "utf-8"


async def _body(response: aiohttp.ClientResponse, deadline: float, limit: int) -> tuple[bytes, bool, bool]:
    """Return what was read, whether that is all, and whether the connection broke."""
    read = bytearray()
    try:
        async with asyncio.timeout_at(deadline):
            async for chunk in response.content.iter_chunked(16384):
                read += chunk
                if len(read) > limit:
                    return bytes(read[:limit]), False, False
    except (aiohttp.ClientError, OSError):
        # the status came, so this is an answer, though its body broke off
        return bytes(read), False, True
    return bytes(read), True, False


def _socket(found: tuple[Any, ...]) -> socket.socket:
    """Make the socket for one resolved address: here, and not earlier, it is certain where a name leads."""
    family, kind, protocol, _, address = found
    addresses.check(address[0])
    return socket.socket(family, kind, protocol)


def trust(secret: Mapping[str, str]) -> ssl.SSLContext | bool:
    """Return what to verify a TLS server with: the Secret's `ca.crt` alone, else the system's authorities."""
    if "ca.crt" not in secret:
        return True
    try:
        return ssl.create_default_context(cadata=secret["ca.crt"])
    except ssl.SSLError:
        told = "the Secret's ca.crt is not a PEM certificate"
        raise HttpError(told, maybe_applied=False, retryable=False) from None


def _origin(request: Request) -> str:
    return str(request.url.origin())


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        cause = error.os_error
        # asyncio words its errors differently for each address family
        return os.strerror(cause.errno) if cause.errno is not None and cause.errno > 0 else cause.strerror or str(cause)
    if isinstance(
        error, aiohttp.ClientResponseError
    ):  # a compression that nobody asked for; what to install is not for users
        return error.message.partition(". Please install")[0]
    return str(error) or type(error).__name__
