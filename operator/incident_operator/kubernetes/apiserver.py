"""The client of the apiserver: `Kube` for single objects, the hot path, and `Reads` for pages and watches, undecoded.

Plain JSON, one request per call, and no retry: who may retry what is for the caller to decide, so every failure is an exception that says
what the caller can do. Access as an account is in `accounts.py`.

A list is read by pages of so many bytes, whatever an object weighs. A page is asked for by a number of objects, for the apiserver knows no
other size; where its bytes are more than a page may have, reading stops there and fewer are asked for from the same place. It is split
where its items begin and end: ordinary decoders recurse, so a single object that somebody nested a thousand times would spoil all of it.
"""

import copy
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
import msgspec
import orjson
import structlog
from yarl import URL

from incident_operator.core.outcomes import Json
from incident_operator.core.sanitize import MOST, loads
from incident_operator.kubernetes import access as accesses
from incident_operator.kubernetes import errors, transport
from incident_operator.kubernetes.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
    Unreadable,
)


class Page(msgspec.Struct):
    """A page of a list, its items undecoded."""

    metadata: dict[str, str | int]
    items: list[msgspec.Raw] = []


class _Written(msgspec.Struct):
    metadata: dict[str, str | int]
    items: list[msgspec.Raw] | None = None
    """Null where there is none: the apiserver words an empty list of metadata so."""


_PAGE, _METADATA = msgspec.json.Decoder(_Written), msgspec.json.Decoder(dict[str, str | int])
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},:]', re.DOTALL)
_OPENS, _CLOSES = frozenset(b"[{"), frozenset(b"]}")


def page_of(text: bytes) -> Page:
    """Return a page of a list, whatever is in its items. Raises `ValueError` for what is not a page."""
    try:
        written = _PAGE.decode(text)
        return Page(written.metadata, written.items or [])
    except (msgspec.MsgspecError, RecursionError):
        parts = members(text)
    try:
        items = [msgspec.Raw(item) for item in elements(parts.get("items", b"[]"))]
        return Page(_METADATA.decode(parts["metadata"]), items)
    except (KeyError, msgspec.MsgspecError) as error:
        raise ValueError(f"not a page of a list: {error}") from error


def members(text: bytes) -> dict[str, bytes]:
    """Return an object's members: name → text of the value. Raises `ValueError` where the text is not an object."""
    found: dict[str, bytes] = {}
    for part in _parts(text, b"{}"):
        name = _TOKEN.match(part)
        if name is None or not part[name.end() :].lstrip().startswith(b":"):
            raise ValueError("a member of the object has no name")
        _, _, value = part[name.end() :].partition(b":")
        found[name.group()[1:-1].decode(errors="replace")] = value.strip()
    return found


def elements(text: bytes) -> list[bytes]:
    """Return the texts of an array's elements. Raises `ValueError` where the text is not an array."""
    return list(_parts(text, b"[]"))


def _parts(text: bytes, brackets: bytes) -> Iterator[bytes]:
    """Yield what stands between the commas of the outermost brackets."""
    text = text.strip()
    if text[:1] + text[-1:] != brackets:
        raise ValueError(f"expected {brackets.decode()}, found {text[:1].decode(errors='replace') or 'nothing'}")
    depth, start = 0, 1
    for token in _TOKEN.finditer(text):
        mark = text[token.start()]
        if mark in _OPENS:
            depth += 1
        elif mark in _CLOSES:
            depth -= 1
        if (depth == 1 and mark == ord(",")) or depth == 0:
            if part := text[start : token.start()].strip():
                yield part
            start = token.end()
    if depth != 0:
        raise ValueError("the text ends before its brackets are closed")


PAGE_BYTES = 4 * 1024 * 1024
"""Of one page with several objects."""
OBJECT_BYTES = 8 * 1024 * 1024
"""Of one object, or a page with only one; etcd keeps no object of this size."""
MOST_OBJECTS = 500
_FEWER, _MORE = 8, 2

Read = Callable[[Mapping[str, str], int], Awaitable[bytes]]
"""Asks for a page by its query, and returns at most so many bytes of it. Raises `api_errors.TooLarge` where there are more."""


async def pages(read: Read, query: Mapping[str, str], most: int = MOST_OBJECTS) -> AsyncIterator[Page]:
    """Yield the pages of a list, their items undecoded, with `most` objects each at first. Raises what `read` does."""
    asked, limit = dict(query), most
    while True:
        try:
            text = await read({**asked, "limit": str(limit)}, PAGE_BYTES if limit > 1 else OBJECT_BYTES)
        except errors.TooLarge:
            if limit == 1:
                raise
            limit = max(1, limit // _FEWER)
            continue
        page = _page(text)
        if len(text) < PAGE_BYTES // (2 * _MORE):
            limit = min(most, limit * _MORE)
        asked["continue"] = str(page.metadata.get("continue") or "")
        yield page
        if not asked["continue"]:
            return
        del page, text  # so that it is not in memory beside the next one


def _page(text: bytes) -> Page:
    try:
        return page_of(text)
    except ValueError as error:
        raise errors.unreadable(f"it is not a list: {error}", writes=False) from None


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
_METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
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

    async def get(self, path: str, *, params: Mapping[str, str] | None = None, depth: int = MOST) -> Json:
        """Return one object; one that is nested deeper is `Unreadable`, one of more than 8 MiB `TooLarge`."""
        return errors.decoded("GET", path, await self.text(path, params=params), depth=depth)

    async def text(self, path: str, *, params: Mapping[str, str] | None = None) -> bytes:
        """Return one object as the apiserver wrote it; one of more than 8 MiB is `TooLarge`."""
        return await self._answer("GET", path, params=params, most=OBJECT_BYTES)

    async def list(
        self, path: str, *, params: Mapping[str, str] | None = None, chunk: int = MOST_OBJECTS
    ) -> AsyncIterator[Json]:
        """Yield the items of a collection, fetched `chunk` at a time, fewer where they are large. Their kind is left out.

        Each is decoded by itself: one that cannot be read is left out and logged, and the others are served.
        """

        async def read(query: Mapping[str, str], most: int) -> bytes:
            return await self._answer("GET", path, params=query, most=most)

        async for page in pages(read, params or {}, chunk):
            for item in page.items:
                try:
                    yield loads(bytes(item))
                except ValueError as error:
                    _log.error("Unreadable object skipped", path=path, error=str(error))

    async def metadata(self, path: str) -> Json:
        """Return an object's metadata alone: `{metadata: {…}}`, which costs the apiserver and us little."""
        return await self._send("GET", path, accept=_METADATA_ONLY)

    async def create(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Create an object in the collection at `path` and return it as stored."""
        return await self._send("POST", path, body, params=_dry(dry_run))

    async def json_patch(self, path: str, operations: Sequence[Mapping[str, Any]], *, dry_run: bool = False) -> Json:
        """Apply RFC 6902 operations and return the object; a failed `test` (or a missing path) is a `Conflict`."""
        return await self._send("PATCH", path, operations, params=_dry(dry_run), content=_JSON_PATCH)

    async def json_patched(self, path: str, operations: Sequence[Mapping[str, Any]]) -> str:
        """Do the same for a caller that knows the object: only its new resourceVersion is read, and returned."""
        answer = await self._answer("PATCH", path, operations, content=_JSON_PATCH, accept=_METADATA_ONLY)
        return errors.version_written(path, answer)

    async def metadata_if(self, path: str, operations: Sequence[Mapping[str, Any]]) -> Json:
        """Return an object's metadata where these `test`s hold, by a dry run: for who may patch an object, and not get it.

        A failed `test` is a `Conflict`.
        """
        return await self._send(
            "PATCH", path, operations, params=_dry(dry_run=True), content=_JSON_PATCH, accept=_METADATA_ONLY
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
        return None if method == "DELETE" else errors.decoded(method, path, answer)

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
        raise errors.of_answer(status, answer, tested=content == _JSON_PATCH and _tests(body))

    async def _exchange(self, method: str, target: str, headers: str, body: Any, most: int) -> tuple[int, bytes]:
        if self._transport is None:
            raise RuntimeError("Kube is used outside `async with`")
        content = b"" if body is None else orjson.dumps(body)
        try:
            return await self._transport.request(method, target, headers, content, self._timeout, most)
        except transport.TooLongError as error:
            if method == "GET":
                raise errors.too_large(target.partition("?")[0], most) from None
            raise errors.unreadable(str(error)) from error
        except OSError as error:
            raise errors.unreachable(error) from error

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


LONGEST_LINE = 8 * 1024 * 1024
"""Bytes of one event; etcd keeps no object of this size."""
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""What to accept where name, uid and times are enough: the apiserver then sends nothing else."""
_PAGE_SECONDS = 60.0


class Later(errors.Unavailable):
    """An answer that says when to come again."""

    def __init__(self, error: errors.Unavailable, seconds: float) -> None:
        super().__init__(error.status, error.status_reason, error.message, maybe_applied=error.maybe_applied)
        self.seconds = seconds


class Reads:
    """An async context manager that owns its connections, so that a watch never takes one from the writes."""

    def __init__(self, access: accesses.Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=connector(self._access, limit=0), cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def page(
        self,
        path: str,
        params: Mapping[str, str],
        accept: str = "application/json",
        most: int = OBJECT_BYTES,
    ) -> bytes:
        """Return the body of an answer. Raises `ApiError`; `TooLarge` where it has more than `most` bytes, which are not read."""
        timeout = aiohttp.ClientTimeout(total=_PAGE_SECONDS, sock_connect=5.0)
        try:
            async with await self._ask(path, params, timeout, accept) as response:
                return await whole(response, path, most)
        except (aiohttp.ClientError, OSError) as error:
            raise errors.unreachable(error) from error

    async def lines(self, path: str, params: Mapping[str, str], silence: float) -> AsyncGenerator[bytes, None]:
        """Yield lines until the apiserver ends the answer. Raises `ApiError`, also after `silence` seconds without a byte."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=silence)
        try:
            async with await self._ask(path, params, timeout, "application/json") as response:
                async for line in split(response.content.iter_any()):
                    yield line
        except (aiohttp.ClientError, OSError) as error:
            raise errors.unreachable(error) from error

    async def _ask(
        self, path: str, params: Mapping[str, str], patience: aiohttp.ClientTimeout, accept: str
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("Reads is used outside `async with`")
        response = await self._session.get(
            URL(self._access.server + path, encoded=True),
            params=params,
            headers={"Accept": accept, "User-Agent": USER_AGENT, **await self._authorization()},
            timeout=patience,
            allow_redirects=False,
            server_hostname=self._access.server_name,
            proxy=self._access.proxy,
        )
        if response.status != 200:
            raise await self._refusal(response)
        return response

    async def _refusal(self, response: aiohttp.ClientResponse) -> errors.ApiError:
        async with response:
            error = errors.of_answer(response.status, await response.read())
        if response.status == 401:
            self._access.credentials.forget()
        seconds = response.headers.get("Retry-After", "")
        if isinstance(error, errors.Unavailable) and seconds.isdecimal():
            return Later(error, float(seconds))
        return error

    async def _authorization(self) -> dict[str, str]:
        try:
            token = await self._access.token()
        except accesses.AccessError as error:
            raise errors.Unavailable(0, "Unauthenticated", str(error), maybe_applied=False) from error
        return {"Authorization": token} if token else {}


async def whole(response: aiohttp.ClientResponse, path: str, most: int) -> bytes:
    """Return the body of an answer as it arrives, of at most so many bytes. Raises `TooLarge` without reading on."""
    chunks, left = list[bytes](), most
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        left -= len(chunk)
        if left < 0:
            response.close()
            raise errors.too_large(path, most)
    return b"".join(chunks)


async def split(chunks: AsyncIterator[bytes], longest: int = LONGEST_LINE) -> AsyncIterator[bytes]:
    """Yield whole lines; raises `ApiError` for one that is longer than `longest`. An unfinished last one is dropped."""
    held = bytearray()
    async for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            held += part
            if held:
                yield bytes(held)
            held.clear()
        held += rest
        if len(held) > longest:
            raise errors.ApiError(0, "TooLong", f"a line of the watch is longer than {longest} bytes")
