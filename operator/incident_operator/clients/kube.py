"""The hot path to the apiserver: plain JSON, one request per call, and no retry.

Who may retry what is for the caller to decide, so every failure is an exception that says what the caller can do.
Typed or discovered access for actions is not here but in `clients/cluster.py`.
"""

import copy
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
import orjson
import structlog

from incident_operator.clients import access as accesses
from incident_operator.clients import api_errors, paging, transport
from incident_operator.clients.api_errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
    Unreadable,
)
from incident_operator.core import json_depth
from incident_operator.core.outcomes import Json

__all__ = [
    "AlreadyExists",
    "ApiError",
    "Conflict",
    "Forbidden",
    "Invalid",
    "Kube",
    "NotFound",
    "Unavailable",
    "Unreadable",
]

DEFAULT_TIMEOUT = 10.0
_CONNECTIONS = 100
_WHOLE = "application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_log = structlog.get_logger()
USER_AGENT = "incident-operator"
"""The apiserver records it as the field manager, and the audit log as the client."""


def connector(access: accesses.Access, limit: int = _CONNECTIONS) -> aiohttp.TCPConnector:
    """Return a connection pool to the apiserver; whoever asked for it closes it.

    Without a limit (0) for watches: there are as many as served namespaces, and one that had to wait for another would hear nothing.
    """
    return aiohttp.TCPConnector(ssl=access.tls or True, limit=limit)


class Kube:
    """A client of one apiserver; an async context manager that owns its connections. Every request is sent once."""

    def __init__(
        self,
        access: accesses.Access,
        timeout: float = DEFAULT_TIMEOUT,
        dated: Callable[[str], None] | None = None,
    ) -> None:
        """`dated` is told the `Date` of an answer now and then."""
        self._access = access
        self._dated = dated
        self._timeout = timeout
        self._headers = f"User-Agent: {USER_AGENT}\r\n"
        self._transport: transport.Transport | None = None

    async def __aenter__(self) -> Self:
        to = transport.Server(self._access.server, self._access.tls, self._access.server_name, self._access.proxy)
        self._transport = transport.Transport(to, _CONNECTIONS, self._dated)
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            self._transport.close()

    def acting_as(self, namespace: str, service_account: str) -> "Kube":
        """Return a client that does everything as a service account, over the same connections."""
        other = copy.copy(self)
        user = service_account_user(namespace, service_account)
        other._headers = f"{self._headers}Impersonate-User: {user}\r\n"  # noqa: SLF001
        return other

    async def get(self, path: str, *, params: Mapping[str, str] | None = None, depth: int = json_depth.MOST) -> Json:
        """Return one object; one that is nested deeper is `Unreadable`, one of more than 8 MiB `TooLarge`."""
        return api_errors.decoded("GET", path, await self.text(path, params=params), depth=depth)

    async def text(self, path: str, *, params: Mapping[str, str] | None = None) -> bytes:
        """Return one object as the apiserver wrote it; one of more than 8 MiB is `TooLarge`."""
        return await self._answer("GET", path, params=params, most=paging.OBJECT_BYTES)

    async def list(
        self, path: str, *, params: Mapping[str, str] | None = None, chunk: int = paging.MOST_OBJECTS
    ) -> AsyncIterator[Json]:
        """Yield the items of a collection, fetched `chunk` at a time, fewer where they are large. Their kind is left out.

        Each is decoded by itself: one that cannot be read is left out and logged, and the others are served.
        """

        async def read(query: Mapping[str, str], most: int) -> bytes:
            return await self._answer("GET", path, params=query, most=most)

        async for page in paging.pages(read, params or {}, chunk):
            for item in page.items:
                try:
                    yield json_depth.loads(bytes(item))
                except ValueError as error:
                    _log.error("Unreadable object skipped", path=path, error=str(error))

    async def metadata(self, path: str) -> Json:
        """Return an object's metadata alone: `{metadata: {…}}`, which costs the apiserver and us little."""
        return await self._send("GET", path, accept=_METADATA)

    async def create(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Create an object in the collection at `path` and return it as stored."""
        return await self._send("POST", path, body, params=_dry(dry_run))

    async def json_patch(self, path: str, operations: Sequence[Mapping[str, Any]], *, dry_run: bool = False) -> Json:
        """Apply RFC 6902 operations and return the object; a failed `test` (or a missing path) is a `Conflict`."""
        return await self._send("PATCH", path, operations, params=_dry(dry_run), content=_JSON_PATCH)

    async def json_patched(self, path: str, operations: Sequence[Mapping[str, Any]]) -> str:
        """Do the same for a caller that knows the object: only its new resourceVersion is read, and returned."""
        answer = await self._answer("PATCH", path, operations, content=_JSON_PATCH, accept=_METADATA)
        return api_errors.version_written(path, answer)

    async def metadata_if(self, path: str, operations: Sequence[Mapping[str, Any]]) -> Json:
        """Return an object's metadata where these `test`s hold, by a dry run: for who may patch an object, and not get it.

        A failed `test` is a `Conflict`.
        """
        return await self._send(
            "PATCH", path, operations, params=_dry(dry_run=True), content=_JSON_PATCH, accept=_METADATA
        )

    async def merge_patch(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Apply an RFC 7386 merge patch and return the object."""
        return await self._send("PATCH", path, body, params=_dry(dry_run), content=_MERGE_PATCH)

    async def write_status(self, path: str, status: Mapping[str, Any]) -> None:
        """Merge into the status of the object at `path`, which ends in `/status`.

        The answer repeats the object and its managed fields, which a tenant may have nested without end: it is not read.
        """
        await self._answer("PATCH", path, {"status": status}, content=_MERGE_PATCH)

    async def delete(self, path: str, *, body: Mapping[str, Any] | None = None) -> None:
        """Delete an object; `body` may be DeleteOptions, e.g. with preconditions."""
        await self._send("DELETE", path, body)

    async def _send(self, method: str, path: str, body: Any = None, **more: Any) -> Json:
        answer = await self._answer(method, path, body, **more)
        # nobody needs what was deleted, and it may be anything
        return None if method == "DELETE" else api_errors.decoded(method, path, answer)

    async def _answer(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        content: str = "application/json",
        accept: str = _WHOLE,
        most: int = transport.ANSWER_BYTES,
    ) -> bytes:
        headers = f"{self._headers}Accept: {accept}\r\n{await self._authorization()}"
        if body is not None:
            headers = f"{headers}Content-Type: {content}\r\n"
        target = f"{path}?{urlencode(params)}" if params else path
        status, answer = await self._exchange(method, target, headers, body, most)
        if status < 300:
            return answer
        if status == 401:
            self._access.credentials.forget()
        raise api_errors.of_answer(status, answer, tested=content == _JSON_PATCH and _tests(body))

    async def _exchange(self, method: str, target: str, headers: str, body: Any, most: int) -> tuple[int, bytes]:
        if self._transport is None:
            raise RuntimeError("Kube is used outside `async with`")
        content = b"" if body is None else orjson.dumps(body)
        try:
            return await self._transport.request(method, target, headers, content, self._timeout, most)
        except transport.TooLongError as error:
            if method == "GET":
                raise api_errors.too_large(target.partition("?")[0], most) from None
            raise api_errors.unreadable(str(error)) from error
        except OSError as error:
            raise api_errors.unreachable(error) from error

    async def _authorization(self) -> str:
        try:
            token = await self._access.token()
        except accesses.AccessError as error:
            raise Unavailable(0, "Unauthenticated", str(error), maybe_applied=False) from error
        return f"Authorization: {token}\r\n" if token else ""


def service_account_user(namespace: str, name: str) -> str:
    """Return the user name of a service account, as RBAC and the audit log write it."""
    return f"system:serviceaccount:{namespace}:{name}"


def _dry(dry_run: bool) -> Mapping[str, str] | None:
    return {"dryRun": "All"} if dry_run else None


def _tests(operations: Sequence[Mapping[str, Any]]) -> bool:
    return any(operation.get("op") == "test" for operation in operations)
