"""Runs one command in a container over a websocket: asked for once, never again, its output read up to a bound.

A websocket begins with a GET, and aiohttp sends a GET again when its connection breaks; here that would run the command
twice. So every command gets a connection of its own, and a break becomes an error that aiohttp does not repeat.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from incident_operator.core.sanitize import TooDeepError, loads
from incident_operator.kubernetes import access as accesses
from incident_operator.kubernetes import apiserver, errors


class Tail:
    """Keeps the last bytes, in a time that grows with what comes and not with how it is parted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = bytearray()
        self.cut = False
        """Whether there was more."""

    def add(self, data: bytes) -> None:
        """Take what comes next."""
        self._held += data
        self.cut = self.cut or len(self._held) > self._most
        if len(self._held) > 2 * self._most:
            del self._held[: -self._most]

    @property
    def kept(self) -> bytes:
        """The last bytes, as many as are kept."""
        return bytes(self._held[-self._most :])


STREAM_BYTES = 64 * 1024
"""Kept of each of stdout and stderr: the end."""
CONNECT_SECONDS = 5.0
_CLOSING_SECONDS = 1.0
_ANSWER_BYTES = 64 * 1024
_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDOUT, _STDERR, _STATUS = 1, 2, 3
"""Channels: the first byte of a message."""
_NEVER_STARTED = ("unable to start container process", "container not found")
"""How container runtimes and the kubelet word that there was nothing to run, or nothing to run it in."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and where."""

    path: str
    """API path of the Pod's `exec`."""
    container: str
    argv: Sequence[str]


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that ran to its end."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    truncated: bool
    """There was more output than is kept."""


class Commands:
    """Runs commands on one cluster, each on a connection of its own."""

    def __init__(self, access: accesses.Access) -> None:
        self._access = access

    async def run(self, namespace: str, service_account: str, command: Command, seconds: float) -> Ended:
        """Run a command as a service account and return how it ended. Raises `api_errors.ApiError`.

        Only a failure that is `maybe_applied` leaves open whether it ran, or runs still; any other never began.
        """
        headers = await self._headers(namespace, service_account)
        url = URL(f"{self._access.server}{command.path}?{_query(command)}", encoded=True)
        try:
            async with (
                asyncio.timeout(seconds),
                self._session(seconds) as session,
                self._open(session, url, headers) as stream,
            ):
                return await _to_the_end(stream)
        except errors.Forbidden as error:
            raise errors.acting_as(error, namespace, service_account) from error
        except TimeoutError:
            raise _unclear(f"did not end within {seconds:g}s; it may still run") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _unclear(f"the connection was lost: {error}") from error

    async def _headers(self, namespace: str, service_account: str) -> Mapping[str, str]:
        try:
            token = await self._access.token()
        except accesses.AccessError as error:
            raise errors.Unavailable(0, "Unauthenticated", str(error), maybe_applied=False) from error
        user = apiserver.service_account_user(namespace, service_account)
        headers = {"User-Agent": apiserver.USER_AGENT, "Impersonate-User": user}
        return {**headers, "Authorization": token} if token else headers

    def _session(self, seconds: float) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._access.tls or True, force_close=True, limit=1),
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=[self._once],
            timeout=aiohttp.ClientTimeout(total=None, connect=min(CONNECT_SECONDS, seconds / 2)),
        )

    def _open(self, session: aiohttp.ClientSession, url: URL, headers: Mapping[str, str]) -> Any:
        return session.ws_connect(
            url,
            headers=headers,
            protocols=_PROTOCOLS,
            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSING_SECONDS),
            server_hostname=self._access.server_name,
            proxy=self._access.proxy,
        )

    async def _once(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Send the request, and turn whatever is not an upgrade into an error that ends it: no repetition, no redirect."""
        try:
            response = await handler(request)
            if response.status == 101:
                return response
            answer = await response.content.read(_ANSWER_BYTES)
        except (aiohttp.ClientError, OSError) as error:
            raise errors.unreachable(error) from error
        if response.status == 401:
            self._access.credentials.forget()
        raise errors.of_answer(response.status, answer)


def _query(command: Command) -> str:
    asked = [("container", command.container), ("stdout", "true"), ("stderr", "true")]
    return urlencode([*asked, *(("command", argument) for argument in command.argv)])


async def _to_the_end(stream: aiohttp.ClientWebSocketResponse) -> Ended:
    if stream.protocol is None:
        raise _unclear("the apiserver speaks none of the protocols " + ", ".join(_PROTOCOLS))
    tails = {channel: Tail(STREAM_BYTES) for channel in (_STDOUT, _STDERR, _STATUS)}
    async for message in stream:
        if message.type is aiohttp.WSMsgType.BINARY and message.data[:1] and message.data[0] in tails:
            tails[message.data[0]].add(message.data[1:])
    out, err = tails[_STDOUT], tails[_STDERR]
    return Ended(exit_code(tails[_STATUS].kept), out.kept, err.kept, out.cut or err.cut)


def exit_code(status: bytes) -> int:
    """Return the exit code that the last word on a command holds. Raises `ApiError` where it holds none."""
    answer = _last_word(status)
    if answer.get("status") == "Success":
        return 0
    code = _told_code(answer)
    if code is not None:
        return code
    message = " ".join(str(answer.get("message")).split())
    if any(sign in message for sign in _NEVER_STARTED):
        raise errors.Invalid(400, "BadRequest", message)
    raise _unclear(message)


def _last_word(status: bytes) -> Mapping[str, Any]:
    try:
        answer = loads(status)
    except TooDeepError as error:
        raise _unclear(f"its exit status is in JSON that is {error}") from None
    except ValueError:
        raise _unclear("the connection was lost before its end was known") from None
    return answer if isinstance(answer, dict) else {}


def _told_code(answer: Mapping[str, Any]) -> int | None:
    try:
        causes = (answer.get("details") or {}).get("causes") or []
        return next((int(cause["message"]) for cause in causes if cause.get("reason") == "ExitCode"), None)
    except (AttributeError, LookupError, TypeError, ValueError):
        return None


def _unclear(why: str) -> errors.Unavailable:
    return errors.Unavailable(0, "Unreachable", why, maybe_applied=True)
