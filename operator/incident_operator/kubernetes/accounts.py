"""The actions' way to the cluster: Kubernetes' own client, always acting as a Runbook's service account.

The operator's own objects are not read or written here but through `kubernetes/apiserver.py`. Plain dicts in and out: the
library's typed models refuse objects that the apiserver serves.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.exceptions import DynamicApiError

from incident_operator.core.outcomes import Json, retry_after_seconds
from incident_operator.kubernetes import access as accesses
from incident_operator.kubernetes import apiserver, errors
from incident_operator.kubernetes.apiserver import MOST_OBJECTS, OBJECT_BYTES, pages
from incident_operator.kubernetes.discovery import Discovery, ServedKind
from incident_operator.kubernetes.exec import Tail

LOG_BYTES = 1024 * 1024
"""Most of a container's log that is held in memory: its end."""


@dataclass(frozen=True, slots=True)
class Account:
    """The cluster as one service account may see and change it; every failure is a `kubernetes/errors.py` error."""

    namespace: str
    name: str
    client: Any
    """The `DynamicClient` that impersonates the account."""
    discovery: Discovery
    credentials: accesses.Credentials
    timeout: float = apiserver.DEFAULT_TIMEOUT
    """Seconds one request may take."""

    def within(self, seconds: float) -> "Account":
        """Return the same account, with no request longer than so many seconds."""
        return replace(self, timeout=min(self.timeout, seconds))

    async def kind(self, api_version: str, kind: str) -> ServedKind:
        """Return how a kind is served; `api_errors.NotFound` where it is not."""
        try:
            async with asyncio.timeout(self.timeout):
                return await self.discovery.find(api_version, kind)
        except TimeoutError as error:
            raise errors.unreachable(error) from error

    async def get(self, path: str, *, params: Mapping[str, str] | None = None) -> Json:
        """Return the object at a path; `api_errors.TooLarge` where it has more than 8 MiB, which are not read."""
        return _decoded("GET", path, await self._send("GET", path, params=params), writes=False)

    async def list(
        self, path: str, *, params: Mapping[str, str] | None = None, chunk: int = MOST_OBJECTS
    ) -> AsyncIterator[Json]:
        """Yield the objects of a collection one by one, read in pages of so many bytes. Leave it where you have enough.

        One that cannot be read is `api_errors.Unreadable`.
        """

        async def read(query: Mapping[str, str], most: int) -> bytes:
            return await self._send("GET", path, params=query, most=most)

        async for page in pages(read, params or {}, chunk):
            for item in page.items:
                yield _decoded("GET", path, bytes(item), writes=False)

    async def find(self, path: str) -> Json | None:
        """Return the object at a path, or None where there certainly is none.

        A 404 that is not about the object, or an object without identity, proves nothing but a failure.
        """
        try:
            found = await self.get(path)
        except errors.NotServed as error:
            raise errors.unreadable(error.message, writes=False) from error
        except errors.NotFound:
            return None
        if not all(isinstance(found["metadata"].get(key), str) for key in ("uid", "resourceVersion")):
            raise errors.unreadable("an object without identity", writes=False)
        return found

    async def create(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Create an object in the collection at a path."""
        answer = await self._send("POST", path, body, params=_dry(dry_run))
        return _decoded("POST", path, answer, writes=not dry_run)

    async def json_patch(self, path: str, operations: Sequence[Mapping[str, Any]], *, dry_run: bool = False) -> None:
        """Apply RFC 6902 operations, the first of which is a `test`; a failed one is `api_errors.Conflict`."""
        await self._send("PATCH", path, list(operations), params=_dry(dry_run))

    async def log(self, path: str, *, params: Mapping[str, str], keep: int = LOG_BYTES) -> str:
        """Return the log of a container, its last `keep` bytes where it is longer; `params` are those of `pods/log`."""
        return (await self._send("GET", path, params=params, keep=keep)).decode(errors="replace")

    async def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        keep: int | None = None,
        most: int = OBJECT_BYTES,
    ) -> bytes:
        writes = method != "GET" and "dryRun" not in (params or {})
        try:
            async with asyncio.timeout(self.timeout):
                response = await self._request(method, path, body, params)
                return await (apiserver.whole(response, path, most) if keep is None else _end(response, keep))
        except errors.TooLarge as error:
            if writes:
                raise errors.unreadable(error.message) from None
            raise
        except DynamicApiError as error:
            if error.status == 401:
                self.credentials.forget()
            answer = (error.body or "").encode()
            refusal = errors.of_answer(error.status, answer, tested=method == "PATCH", writes=writes)
            asked = retry_after_seconds(error.headers or {})
            refusal.after = max(refusal.after, asked)
            raise errors.acting_as(refusal, self.namespace, self.name) from error
        except accesses.AccessError as error:
            raise apiserver.Unavailable(0, "Unauthenticated", str(error), maybe_applied=False) from error
        except (aiohttp.ClientError, OSError) as error:
            raise errors.unreachable(error, writes=writes) from error

    async def _request(self, method: str, path: str, body: Any, params: Mapping[str, str] | None) -> Any:
        return await self.client.request(
            method,
            path,
            body=body,
            query_params=list((params or {}).items()),
            content_type="application/json-patch+json" if method == "PATCH" else "application/json",
            serialize=False,
        )


class Cluster:
    """Makes accounts that share one connection pool; an async context manager."""

    def __init__(self, access: accesses.Access) -> None:
        self._access = access
        self._connector: aiohttp.TCPConnector | None = None
        self._operator: Any = None
        self._discovery: Discovery | None = None

    async def __aenter__(self) -> Self:
        self._connector = apiserver.connector(self._access)
        self._operator = self._api_client(self._connector)
        # the library asks its hook for a new token only where there is one already
        await self._renew(self._operator.configuration)
        self._discovery = Discovery(self._operator)
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._connector is not None:
            await self._operator.close()
            await self._connector.close()

    def acting_as(self, namespace: str, service_account: str) -> Account:
        """Return the cluster as a service account of a namespace."""
        if self._discovery is None:
            raise RuntimeError("Cluster is used outside `async with`")
        client = copy.copy(self._operator)
        user = apiserver.service_account_user(namespace, service_account)
        client.default_headers = {**self._operator.default_headers, "Impersonate-User": user}
        dynamic = DynamicClient(client)  # type: ignore[no-untyped-call] # the library carries few types
        return Account(namespace, service_account, dynamic, self._discovery, self._access.credentials)

    def _api_client(self, connector: aiohttp.TCPConnector) -> Any:
        configuration: Any = Configuration(
            host=self._access.server,
            tls_server_name=self._access.server_name,
            proxy=self._access.proxy,
            client_session_kwargs={"connector": connector, "cookie_jar": aiohttp.DummyCookieJar()},
        )
        configuration.refresh_api_key_hook = self._renew
        client = ApiClient(configuration)
        client.user_agent = apiserver.USER_AGENT
        return client

    async def _renew(self, configuration: Any) -> None:
        token = await self._access.token()
        if token:
            configuration.api_key["BearerToken"] = token


async def _end(response: aiohttp.ClientResponse, keep: int) -> bytes:
    """Return the last `keep` bytes of an answer's body."""
    end = Tail(keep)
    async with response:
        async for chunk in response.content.iter_any():
            end.add(chunk)
    return end.kept


def _decoded(method: str, path: str, answer: bytes, *, writes: bool) -> Json:
    """Return an object. Raises `Unavailable` for anything else, e.g. a proxy's page."""
    found = errors.decoded(method, path, answer, writes=writes)
    if not isinstance(found, dict) or not isinstance(found.get("metadata"), dict):
        raise errors.unreadable("it is not an object", writes=writes)
    return found


def _dry(dry_run: bool) -> Mapping[str, str]:
    return {"dryRun": "All"} if dry_run else {}
