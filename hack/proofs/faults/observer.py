"""Watches the cluster itself, not through the proxy: every version of the objects that runs are about."""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from incident_operator.kubernetes.access import Access
from proofs.faults import watches

Json = Mapping[str, Any]
_WATCHED = {
    "incidents": "/apis/incidents.dev/v1alpha1/incidents",
    "deployments": "/apis/apps/v1/deployments",
    "jobs": "/apis/batch/v1/jobs",
    "pods": "/api/v1/pods",
}
_LOOKS = 60


@dataclass
class Seen:
    """What was seen of one namespace, in the order of etcd's count."""

    incidents: dict[str, Json] = field(default_factory=dict)
    """Newest version by name; what was deleted is gone from here."""
    deployments: list[Json] = field(default_factory=list)
    jobs: dict[str, Json] = field(default_factory=dict)
    """First version by uid."""
    started: dict[str, Json] = field(default_factory=dict)
    """Of a Job the first version that was not suspended, by uid."""
    pods: dict[str, Json] = field(default_factory=dict)
    """First version by uid."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def forget(self) -> None:
        """Begin a new run: of Deployments only the newest version counts."""
        newest = {each["metadata"]["name"]: each for each in self.deployments}
        self.deployments = list(newest.values())
        self.jobs.clear()
        self.started.clear()
        self.pods.clear()

    def has(self, listed: Mapping[str, list[Json]]) -> bool:
        """Tell whether everything that is listed, by kind, has been seen."""
        versions = {each["metadata"]["resourceVersion"] for each in self.deployments}
        uids = {"jobs": self.jobs.keys(), "pods": self.pods.keys()}
        runs = {each["metadata"]["uid"] for each in listed["jobs"] if _runs(each)}
        return (
            all(each["metadata"]["resourceVersion"] in versions for each in listed["deployments"])
            and all(each["metadata"]["uid"] in known for kind, known in uids.items() for each in listed[kind])
            and runs <= self.started.keys()
        )

    def take(self, kind: str, event: Json) -> None:
        """Note an event."""
        found = event["object"]
        meta = found["metadata"]
        if kind == "incidents":
            self.incidents[meta["name"]] = found
            if event["type"] == "DELETED":
                self.incidents.pop(meta["name"])
            self.news.set()
        elif kind == "deployments":
            self.deployments.append(found)
        else:
            if event["type"] == "ADDED":
                getattr(self, kind).setdefault(meta["uid"], found)
            if kind == "jobs" and _runs(found):
                self.started.setdefault(meta["uid"], found)


def _runs(job: Json) -> bool:
    """Tell whether a Job may have Pods, which is its effect."""
    return not job["spec"].get("suspend")


def connector(tls: ssl.SSLContext | None) -> aiohttp.TCPConnector:
    """Return a connector to an apiserver that leaves no socket behind, whoever cuts a watch off, and when."""
    return aiohttp.TCPConnector(ssl=tls or True, limit=0, enable_cleanup_closed=True)


class Observer:
    """Watches all namespaces for as long as the block lasts."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._seen: dict[str, Seen] = defaultdict(Seen)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=connector(self._access.tls))
        listed = [asyncio.Event() for _ in _WATCHED]
        for (kind, path), ready in zip(_WATCHED.items(), listed, strict=True):
            self._tasks.append(asyncio.create_task(self._follow(kind, path, ready)))
        waiting = asyncio.gather(*(each.wait() for each in listed))
        await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            raise RuntimeError("a kind cannot be watched") from next(
                e for t in self._tasks if t.done() and (e := t.exception())
            )
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._session.close()  # first: this cuts the watches off, and a cancelled one would say a TLS goodbye
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def of(self, namespace: str) -> Seen:
        """Return what is seen of a namespace; it goes on growing."""
        return self._seen[namespace]

    async def text(self, path: str) -> str:
        """Read something else, once."""
        async with self._session.get(self._access.server + path, headers=await self._headers()) as answer:
            return await answer.text()

    async def _follow(self, kind: str, path: str, ready: asyncio.Event) -> None:
        version = ""
        while True:
            version = version or await self._list(kind, path)
            ready.set()
            version = await self._watch(kind, path, version)

    async def _list(self, kind: str, path: str) -> str:
        page = orjson.loads(await self._page(path))
        for item in page["items"]:
            self._take(kind, {"type": "ADDED", "object": item})
        return str(page["metadata"]["resourceVersion"])

    async def _page(self, path: str) -> bytes:
        """Return a list; the apiserver puts it off (429) for a moment after its kind was defined."""
        for _ in range(_LOOKS):
            async with self._session.get(self._access.server + path, headers=await self._headers()) as answer:
                page, status = await answer.read(), answer.status
            if status == 200:
                return page
            await asyncio.sleep(0.5)
        raise RuntimeError(f"{path}: {status} {page.decode()[:300]}")

    async def _watch(self, kind: str, path: str, version: str) -> str:
        query = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        url, headers = self._access.server + path, await self._headers()
        timeout = aiohttp.ClientTimeout()
        async with self._session.get(url, params=query, headers=headers, timeout=timeout) as answer:
            async for line in watches.lines(answer.content):
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    return ""
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._take(kind, event)
        return version

    def _take(self, kind: str, event: Json) -> None:
        self._seen[event["object"]["metadata"]["namespace"]].take(kind, event)

    async def _headers(self) -> dict[str, str]:
        token = await self._access.token()
        return {"Authorization": token} if token else {}
