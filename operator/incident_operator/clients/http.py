"""Sends one HTTP request, once, and reads a bounded reply. Follows no redirect, keeps no cookie, repeats nothing."""

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from incident_operator.clients import addresses, http_requests, redaction
from incident_operator.clients.http_requests import Request
from incident_operator.core import reasons, retry_after
from incident_operator.core.errors import Failure

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
            **http_requests.secret_headers(secret),
            **http_requests.credentials(secret),
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
    asked = retry_after.seconds(headers)
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
