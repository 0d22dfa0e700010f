"""The hot path to the apiserver: plain JSON over one aiohttp session, one request per call, and no retry.

Who may retry what is for the caller to decide, so every failure is an exception that says what the caller can do.
Typed or discovered access for actions is not here but in `clients/cluster.py`.
"""

import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from incident_operator.clients import access as accesses
from incident_operator.clients import api_errors
from incident_operator.clients.api_errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
)
from incident_operator.core.outcomes import Json

__all__ = ["AlreadyExists", "ApiError", "Conflict", "Forbidden", "Invalid", "Kube", "NotFound", "Unavailable"]

DEFAULT_TIMEOUT = 10.0
_CONNECTIONS = 100
USER_AGENT = "incident-operator"
"""The apiserver records it as the field manager, and the audit log as the client."""


def connector(access: accesses.Access) -> aiohttp.TCPConnector:
    """Return a connection pool to the apiserver; whoever asked for it closes it."""
    return aiohttp.TCPConnector(ssl=access.tls or True, limit=_CONNECTIONS)


class Kube:
    """A client of one apiserver; an async context manager that owns its connections.

    Writes are sent once. aiohttp itself repeats a GET or DELETE once where a kept-alive connection turned out dead.
    """

    def __init__(self, access: accesses.Access, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._access = access
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, 5.0))
        self._headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=connector(self._access), cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def acting_as(self, namespace: str, service_account: str) -> "Kube":
        """Return a client that does everything as a service account, over the same connections."""
        other = copy.copy(self)
        other._headers = {**self._headers, "Impersonate-User": service_account_user(namespace, service_account)}  # noqa: SLF001
        return other

    async def get(self, path: str, *, params: Mapping[str, str] | None = None) -> Json:
        """Return one object (or one page of a list)."""
        return await self._send("GET", path, params=params)

    async def list(
        self, path: str, *, params: Mapping[str, str] | None = None, chunk: int = 500
    ) -> AsyncIterator[Json]:
        """Yield the items of a collection, fetched `chunk` at a time. The apiserver leaves out their kind."""
        query = {**(params or {}), "limit": str(chunk)}
        while True:
            page = await self.get(path, params=query)
            for item in page.get("items") or []:
                yield item
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    async def create(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Create an object in the collection at `path` and return it as stored."""
        return await self._send("POST", path, body, params=_dry(dry_run))

    async def json_patch(self, path: str, operations: Sequence[Mapping[str, Any]], *, dry_run: bool = False) -> Json:
        """Apply RFC 6902 operations and return the object; a failed `test` (or a missing path) is a `Conflict`."""
        return await self._send("PATCH", path, operations, params=_dry(dry_run), content="application/json-patch+json")

    async def merge_patch(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Apply an RFC 7386 merge patch and return the object."""
        return await self._send("PATCH", path, body, params=_dry(dry_run), content="application/merge-patch+json")

    async def delete(self, path: str, *, body: Mapping[str, Any] | None = None) -> None:
        """Delete an object; `body` may be DeleteOptions, e.g. with preconditions."""
        await self._send("DELETE", path, body)

    async def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        content: str = "application/json",
    ) -> Json:
        headers = {**self._headers, **await self._authorization()}
        if body is not None:
            headers["Content-Type"] = content
        status, answer = await self._exchange(method, path, headers, params, body)
        if status < 300:
            return orjson.loads(answer)
        if status == 401:
            self._access.credentials.forget()
        raise api_errors.of_answer(status, answer, tested=content == "application/json-patch+json" and _tests(body))

    async def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], params: Mapping[str, str] | None, body: Any
    ) -> tuple[int, bytes]:
        if self._session is None:
            raise RuntimeError("Kube is used outside `async with`")
        try:
            async with self._session.request(
                method,
                URL(self._access.server + path, encoded=True),
                params=params,
                data=None if body is None else orjson.dumps(body),
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                server_hostname=self._access.server_name,
                proxy=self._access.proxy,
            ) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise api_errors.unreachable(error) from error

    async def _authorization(self) -> dict[str, str]:
        try:
            token = await self._access.token()
        except accesses.AccessError as error:
            raise Unavailable(0, "Unauthenticated", str(error), sent=False) from error
        return {"Authorization": token} if token else {}


def service_account_user(namespace: str, name: str) -> str:
    """Return the user name of a service account, as RBAC and the audit log write it."""
    return f"system:serviceaccount:{namespace}:{name}"


def _dry(dry_run: bool) -> Mapping[str, str] | None:
    return {"dryRun": "All"} if dry_run else None


def _tests(operations: Sequence[Mapping[str, Any]]) -> bool:
    return any(operation.get("op") == "test" for operation in operations)
