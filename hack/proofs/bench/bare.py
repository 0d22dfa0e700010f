"""The reference that nothing beats by much: an aiohttp client that writes to the apiserver and does nothing else."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml

from proofs.bench.rig import Rig

JSON_PATCH = "application/json-patch+json"
Json = dict[str, Any]


class Bare:
    """One session to the apiserver as the operator's service account."""

    def __init__(self, on: Rig) -> None:
        config = yaml.safe_load(on.kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._server = cluster["server"]
        self._token = config["users"][0]["user"]["token"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)

    async def __aenter__(self) -> Self:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=100)
        self._session = aiohttp.ClientSession(self._server, connector=connector, headers=headers)
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def create(self, path: str, body: Json) -> Json:
        """Create an object; anything but success is an error."""
        async with self._session.post(path, json=body, raise_for_status=True) as answer:
            return await answer.json()

    async def patch(self, path: str, operations: list[Json]) -> Json:
        """Apply a JSON patch."""
        headers = {"Content-Type": JSON_PATCH}
        data = json.dumps(operations)
        async with self._session.patch(path, data=data, headers=headers, raise_for_status=True) as answer:
            return await answer.json()

    async def get(self, path: str, **params: str) -> Json:
        """Read an object or a list."""
        async with self._session.get(path, params=params, raise_for_status=True) as answer:
            return await answer.json()

    async def delete_all(self, path: str) -> None:
        """Delete a whole collection."""
        async with self._session.delete(path, raise_for_status=True) as answer:
            await answer.read()

    async def watch(self, path: str, begun: asyncio.Event) -> AsyncIterator[Json]:
        """Yield the objects of a collection as they change, from the moment on at which `begun` is set."""
        params = {"watch": "1", "resourceVersion": (await self.get(path, limit="1"))["metadata"]["resourceVersion"]}
        no_end = aiohttp.ClientTimeout(total=None)
        async with self._session.get(path, params=params, timeout=no_end, read_bufsize=2**24) as answer:
            begun.set()
            async for line in answer.content:
                yield json.loads(line)["object"]


async def in_turns(works: list[Any], at_a_time: int = 16) -> None:
    """Run coroutines, so many at a time."""
    slots = asyncio.Semaphore(at_a_time)

    async def one(work: Any) -> None:
        async with slots:
            await work

    await asyncio.gather(*(one(work) for work in works))
