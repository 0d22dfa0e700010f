"""Reads of many objects: pages as they came and lines of a watch, undecoded, over connections of their own."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from incident_operator.clients import access as accesses
from incident_operator.clients import api_errors, kube, paging

LONGEST_LINE = 8 * 1024 * 1024
"""Bytes of one event; etcd keeps no object of this size."""
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""What to accept where name, uid and times are enough: the apiserver then sends nothing else."""
_PAGE_SECONDS = 60.0


class Later(api_errors.Unavailable):
    """An answer that says when to come again."""

    def __init__(self, error: api_errors.Unavailable, seconds: float) -> None:
        super().__init__(error.status, error.status_reason, error.message, maybe_applied=error.maybe_applied)
        self.seconds = seconds


class Reads:
    """An async context manager that owns its connections, so that a watch never takes one from the writes."""

    def __init__(self, access: accesses.Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=kube.connector(self._access, limit=0), cookie_jar=aiohttp.DummyCookieJar()
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
        most: int = paging.OBJECT_BYTES,
    ) -> bytes:
        """Return the body of an answer. Raises `ApiError`; `TooLarge` where it has more than `most` bytes, which are not read."""
        timeout = aiohttp.ClientTimeout(total=_PAGE_SECONDS, sock_connect=5.0)
        try:
            async with await self._ask(path, params, timeout, accept) as response:
                return await whole(response, path, most)
        except (aiohttp.ClientError, OSError) as error:
            raise api_errors.unreachable(error) from error

    async def lines(self, path: str, params: Mapping[str, str], silence: float) -> AsyncGenerator[bytes, None]:
        """Yield lines until the apiserver ends the answer. Raises `ApiError`, also after `silence` seconds without a byte."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=silence)
        try:
            async with await self._ask(path, params, timeout, "application/json") as response:
                async for line in split(response.content.iter_any()):
                    yield line
        except (aiohttp.ClientError, OSError) as error:
            raise api_errors.unreachable(error) from error

    async def _ask(
        self, path: str, params: Mapping[str, str], patience: aiohttp.ClientTimeout, accept: str
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("Reads is used outside `async with`")
        response = await self._session.get(
            URL(self._access.server + path, encoded=True),
            params=params,
            headers={"Accept": accept, "User-Agent": kube.USER_AGENT, **await self._authorization()},
            timeout=patience,
            allow_redirects=False,
            server_hostname=self._access.server_name,
            proxy=self._access.proxy,
        )
        if response.status != 200:
            raise await self._refusal(response)
        return response

    async def _refusal(self, response: aiohttp.ClientResponse) -> api_errors.ApiError:
        async with response:
            error = api_errors.of_answer(response.status, await response.read())
        if response.status == 401:
            self._access.credentials.forget()
        seconds = response.headers.get("Retry-After", "")
        if isinstance(error, api_errors.Unavailable) and seconds.isdecimal():
            return Later(error, float(seconds))
        return error

    async def _authorization(self) -> dict[str, str]:
        try:
            token = await self._access.token()
        except accesses.AccessError as error:
            raise api_errors.Unavailable(0, "Unauthenticated", str(error), maybe_applied=False) from error
        return {"Authorization": token} if token else {}


async def whole(response: aiohttp.ClientResponse, path: str, most: int) -> bytes:
    """Return the body of an answer as it arrives, of at most so many bytes. Raises `TooLarge` without reading on."""
    chunks, left = list[bytes](), most
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        left -= len(chunk)
        if left < 0:
            response.close()
            raise api_errors.too_large(path, most)
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
            raise api_errors.ApiError(0, "TooLong", f"a line of the watch is longer than {longest} bytes")
